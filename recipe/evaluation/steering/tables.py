"""The figures of operations as markdown tables."""

from typing import Any, Final

from recipe.evaluation.share import wilson_interval

OPERATIONS: Final = (
    "| operation | pictures | mask IoU | place kept | left open and kept | asked for and right | "
    "detail |\n|---|---|---|---|---|---|---|\n"
)
SERIES: Final = (
    "| series | pictures | variable right | constants right | pairs: mask IoU | same place |\n"
    "|---|---|---|---|---|---|\n"
)
OTHERS: Final = "| figure | value |\n|---|---|\n"


def tables(found: dict[str, Any]) -> str:
    """Return all figures as markdown."""
    (psnr_db,) = (row["psnr_db"] for row in found["operations"].values() if "psnr_db" in row)
    others = (
        f"| image to image 0, whole caption: signal to noise at 64 px | {psnr_db} dB |\n"
        "| cosine of a picture's latent and of that of the picture, encoded again | "
        f"{found['latent_cosine']} |\n"
    )
    parts = (table(found["operations"]), series_table(found["series"]), OTHERS + others)
    return "\n".join(parts)


def table(rows: dict[str, Any]) -> str:
    """Return the figures of operations."""
    lines = []
    for name, row in rows.items():
        shares = " | ".join(_cell(row[key]) for key in ("place", "kept", "right"))
        iou, detail = f"{row['mask_iou']:.2f}", f"{row['detail']:.2f}"
        lines.append(f"| {name} | {row['pictures']} | {iou} | {shares} | {detail} |\n")
    return OPERATIONS + "".join(lines)


def series_table(rows: dict[str, Any]) -> str:
    """Return the figures of series."""
    lines = [
        f"| {name} | {row['pictures']} | {_cell(row['variable'])} | {_cell(row['constants'])} | "
        f"{row['pair_mask_iou']:.2f} | {_cell(row['same_place'])} |\n"
        for name, row in rows.items()
    ]
    return SERIES + "".join(lines)


def _cell(found: dict[str, float]) -> str:
    """Write a share with its interval of 95%; nothing if it is of no flags."""
    if not found["of"]:
        return ""
    low, high = wilson_interval(found["share"], int(found["of"]))
    return f"{found['share']:.1%} ({100 * low:.0f}-{100 * high:.0f})"
