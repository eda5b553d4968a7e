"""Opening models: every layout, what is read from them, and one clear sentence when it fails."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from cascade_core.checkpoints.checkpoint import Checkpoint, ModelSource, open_checkpoint
from cascade_core.checkpoints.model_folders import DEMO_MODEL
from cascade_core.errors import ModelUnavailable
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.geometry import Geometry
from cascade_core.model_defaults import ModelDefaults
from tests.cascade_core.model_folders import (
    PARTS,
    UNET,
    write_json,
)


def names(checkpoint: Checkpoint, root: Path) -> dict[str, str]:
    found = {name: checkpoint.component(name) for name in STABLE_CASCADE.components}
    return {name: str(path.relative_to(root)) for name, path in found.items()}


def test_one_combined_folder_holds_everything(combined: Path) -> None:
    assert names(open_checkpoint(ModelSource(str(combined))), combined) == {
        "prior": "prior_prior",
        "text_encoder": "prior_text_encoder",
        "tokenizer": "prior_tokenizer",
        "decoder": "decoder",
        "vqgan": "vqgan",
    }


def test_a_combined_folder_may_hold_the_text_parts_without_prefix(combined: Path) -> None:
    (combined / "prior_text_encoder").rename(combined / "text_encoder")
    (combined / "prior_tokenizer").rename(combined / "tokenizer")
    found = names(open_checkpoint(ModelSource(str(combined))), combined)
    assert (found["text_encoder"], found["tokenizer"]) == ("text_encoder", "tokenizer")


def test_the_priors_folder_is_found_beside_the_decoders(two: tuple[Path, Path]) -> None:
    decoder, prior = two
    checkpoint = open_checkpoint(ModelSource(str(decoder)))
    assert checkpoint.component("prior") == prior / "prior"
    assert checkpoint.component("text_encoder") == prior / "text_encoder"
    assert checkpoint.component("decoder") == decoder / "decoder"
    assert checkpoint.id == "cascade"


def test_the_priors_folder_can_be_elsewhere(two: tuple[Path, Path], tmp_path: Path) -> None:
    decoder, prior = two
    elsewhere = prior.rename(tmp_path / "elsewhere")
    checkpoint = open_checkpoint(ModelSource(str(decoder), str(elsewhere)))
    assert checkpoint.component("prior") == elsewhere / "prior"


def test_lite_sizes_pick_the_smaller_unets(two: tuple[Path, Path]) -> None:
    source = ModelSource(str(two[0]), prior_size="lite", decoder_size="lite")
    checkpoint = open_checkpoint(source)
    assert checkpoint.component("prior").name == "prior_lite"
    assert checkpoint.component("decoder").name == "decoder_lite"
    assert checkpoint.fingerprint != open_checkpoint(replace(source, prior_size="full")).fingerprint


def test_the_variant_picks_other_weight_files(combined: Path) -> None:
    for folder in ("prior_prior", "prior_text_encoder", "decoder", "vqgan"):
        weights = next((combined / folder).glob("*.safetensors"))
        weights.rename(weights.with_suffix(".bf16.safetensors"))
    checkpoint = open_checkpoint(ModelSource(str(combined), variant="bf16"))
    found = {name: checkpoint.weight_files(name)[0].name for name in PARTS}
    assert found == {name: f"{stem}.bf16.safetensors" for name, stem in PARTS.items()}
    with pytest.raises(
        ModelUnavailable, match=r"diffusion_pytorch_model\.safetensors does not exist"
    ):
        open_checkpoint(ModelSource(str(combined)))


def test_weights_in_shards_are_all_found(combined: Path) -> None:
    folder = combined / "prior_prior"
    (folder / f"{UNET}.safetensors").unlink()
    shards = [f"{UNET}-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for shard in shards:
        (folder / shard).write_bytes(b"x")
    write_json(
        folder / f"{UNET}.safetensors.index.json", weight_map={"b": shards[1], "a": shards[0]}
    )
    checkpoint = open_checkpoint(ModelSource(str(combined)))
    assert [path.name for path in checkpoint.weight_files("prior")] == shards
    (folder / shards[1]).unlink()
    with pytest.raises(ModelUnavailable, match=r"00002-of-00002\.safetensors does not exist"):
        open_checkpoint(ModelSource(str(combined)))


def test_geometry_comes_from_the_configuration(combined: Path) -> None:
    assert open_checkpoint(ModelSource(str(combined))).geometry == Geometry()
    write_json(combined / "model_index.json", resolution_multiple=32, latent_dim_scale=8.0)
    write_json(combined / "vqgan" / "config.json", up_down_scale_factor=2, levels=3)
    assert open_checkpoint(ModelSource(str(combined))).geometry == Geometry(32.0, 8.0, 8)


def test_geometry_of_two_folders_comes_from_both(two: tuple[Path, Path]) -> None:
    decoder, prior = two
    write_json(prior / "model_index.json", resolution_multiple=40.0)
    write_json(decoder / "model_index.json", latent_dim_scale=10.0)
    geometry = open_checkpoint(ModelSource(str(decoder))).geometry
    assert (geometry.resolution_multiple, geometry.latent_dim_scale) == (40.0, 10.0)


def test_a_folder_says_its_name_licence_and_defaults(combined: Path) -> None:
    about = {"name": "mine", "licence": "MIT", "width": 512, "guidance_scale": 3, "other": 1}
    write_json(combined / "cascade.json", suggestions=["a cat"], **about)
    checkpoint = open_checkpoint(ModelSource(str(combined)))
    assert (checkpoint.id, checkpoint.licence) == ("mine", "MIT")
    assert checkpoint.defaults == ModelDefaults(width=512, guidance_scale=3, suggestions=("a cat",))


def test_a_folder_says_what_it_was_trained_on_and_does_badly(combined: Path) -> None:
    before = open_checkpoint(ModelSource(str(combined)))
    assert (before.trained_on, before.weaknesses) == ("", ())
    write_json(combined / "cascade.json", trained_on="cats", weaknesses=["dogs"], licence="MIT")
    after = open_checkpoint(ModelSource(str(combined)))
    assert (after.trained_on, after.weaknesses) == ("cats", ("dogs",))
    assert (after.hosting, after.commercial) == ("allowed", "allowed")
    assert after.fingerprint == before.fingerprint, "its latents stay its own"
    write_json(combined / "cascade.json", weaknesses="dogs")
    with pytest.raises(ModelUnavailable, match=r"cascade.json: weaknesses must be a list of texts"):
        open_checkpoint(ModelSource(str(combined)))


def test_a_model_says_what_the_words_for_the_strength_stand_for(combined: Path) -> None:
    assert open_checkpoint(ModelSource(str(combined))).defaults.strength("subtle") == 0.7
    write_json(combined / "cascade.json", vary={"subtle": 0.6, "strong": 1})
    defaults = open_checkpoint(ModelSource(str(combined))).defaults
    assert (defaults.strength("subtle"), defaults.strength("strong")) == (0.6, 1)


@pytest.mark.parametrize(
    "stated",
    [{}, {"subtle": 0.6}, {"subtle": 0.6, "strong": 1.2}, {"subtle": True, "strong": 0.9},
     {"subtle": 0.6, "strong": 0.9, "wild": 1}],
)  # fmt: skip
def test_strengths_that_cannot_be_are_refused(stated: dict[str, object], combined: Path) -> None:
    write_json(combined / "cascade.json", vary=stated)
    expected = r"cascade\.json: vary must give a number from 0 to 1 for each of subtle, strong"
    with pytest.raises(ModelUnavailable, match=expected):
        open_checkpoint(ModelSource(str(combined)))


def test_a_default_of_the_wrong_type_is_refused(combined: Path) -> None:
    write_json(combined / "cascade.json", steps="many")
    with pytest.raises(ModelUnavailable, match=r"cascade\.json: steps has the wrong type"):
        open_checkpoint(ModelSource(str(combined)))


def test_a_folder_may_say_how_many_images_share_a_step(combined: Path) -> None:
    before = open_checkpoint(ModelSource(str(combined)))
    assert before.max_rows == {}
    write_json(combined / "cascade.json", max_rows={"cpu": {"c": 4}, "cuda": {"c": 64, "b": 1}})
    checkpoint = open_checkpoint(ModelSource(str(combined)))
    assert checkpoint.max_rows == {"cpu": {"c": 4}, "cuda": {"c": 64, "b": 1}}
    assert checkpoint.fingerprint == before.fingerprint


@pytest.mark.parametrize(
    "stated",
    [4, [4], {"c": 4}, {"tpu": {"c": 4}}, *({"cpu": {"c": n}} for n in (0, 65, 2.0, "2", True))],
)
def test_numbers_of_images_that_make_no_sense_are_refused(combined: Path, stated: object) -> None:
    write_json(combined / "cascade.json", max_rows=stated)
    expected = r"cascade\.json: max_rows must give numbers from 1 to 64 by device \(cpu, cuda\)"
    with pytest.raises(ModelUnavailable, match=expected):
        open_checkpoint(ModelSource(str(combined)))


def change_weights(folder: Path) -> None:
    path = folder / "decoder" / f"{UNET}.safetensors"
    path.write_bytes(path.read_bytes()[::-1])


def change_config(folder: Path) -> None:
    write_json(folder / "vqgan" / "config.json", scale_factor=0.43)


def change_middle_of_big_file(folder: Path) -> None:
    (folder / "prior_prior" / f"{UNET}.safetensors").write_bytes(
        b"0" * 2_000_000 + b"1" * 2_000_000
    )


@pytest.mark.parametrize("change", [change_weights, change_config, change_middle_of_big_file])
def test_the_fingerprint_tells_other_weights_apart(
    combined: Path, change: Callable[[Path], None]
) -> None:
    (combined / "prior_prior" / f"{UNET}.safetensors").write_bytes(b"0" * 4_000_000)
    before = open_checkpoint(ModelSource(str(combined)))
    assert open_checkpoint(ModelSource(str(combined))).fingerprint == before.fingerprint
    change(combined)
    after = open_checkpoint(ModelSource(str(combined)))
    assert after.fingerprint != before.fingerprint
    assert after.revision != before.revision


def test_the_fingerprint_does_not_depend_on_where_the_folder_is(combined: Path) -> None:
    before = open_checkpoint(ModelSource(str(combined))).fingerprint
    moved = combined.rename(combined.with_name("moved"))
    assert open_checkpoint(ModelSource(str(moved))).fingerprint == before


def remove(path: str) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        target = folder / path
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    return act


MISSING: Mapping[str, tuple[Callable[[Path], None], str]] = {
    "prior": (
        remove("prior_prior"),
        "combined has no prior folder and .*combined-prior does not exist",
    ),
    "decoder": (remove("decoder"), "combined has no decoder folder"),
    "tokenizer": (remove("prior_tokenizer"), "has no prior_tokenizer or tokenizer folder"),
    "tokenizer file": (
        remove("prior_tokenizer/tokenizer_config.json"),
        r"prior_tokenizer/tokenizer_config\.json does not exist",
    ),
    "config": (remove("vqgan/config.json"), r"vqgan/config\.json does not exist"),
    "weights": (
        remove(f"decoder/{UNET}.safetensors"),
        r"decoder/diffusion_pytorch_model\.safetensors does not exist",
    ),
}


@pytest.mark.parametrize("name", MISSING)
def test_what_is_missing_is_named_in_one_sentence(name: str, combined: Path) -> None:
    act, pattern = MISSING[name]
    act(combined)
    with pytest.raises(ModelUnavailable, match=pattern) as caught:
        open_checkpoint(ModelSource(str(combined)))
    assert "\n" not in caught.value.message


def test_a_broken_configuration_is_named(combined: Path) -> None:
    (combined / "model_index.json").write_text("{")
    with pytest.raises(ModelUnavailable, match=r"model_index\.json is not valid JSON"):
        open_checkpoint(ModelSource(str(combined)))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[]", "1" * 5000, "\x00"])
def test_json_that_no_model_has_is_one_sentence(text: str, combined: Path) -> None:
    (combined / "cascade.json").write_text(text)
    with pytest.raises(
        ModelUnavailable, match=r"cascade\.json (is not valid|must hold a)"
    ) as caught:
        open_checkpoint(ModelSource(str(combined)))
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("file", "wrong"),
    [
        ("vqgan/config.json", {"levels": float("inf")}),
        ("vqgan/config.json", {"levels": 10**11}),
        ("vqgan/config.json", {"levels": None}),
        ("vqgan/config.json", {"up_down_scale_factor": 0}),
        ("vqgan/config.json", {"up_down_scale_factor": 10**400}),
        ("model_index.json", {"resolution_multiple": 0}),
        ("model_index.json", {"latent_dim_scale": float("nan")}),
        ("model_index.json", {"latent_dim_scale": 10**400}),
    ],
)
def test_a_scale_that_cannot_be_is_one_sentence(
    file: str, wrong: dict[str, object], combined: Path
) -> None:
    write_json(combined / file, **wrong)
    with pytest.raises(ModelUnavailable, match=r"combined has a scale that cannot be: ."):
        open_checkpoint(ModelSource(str(combined)))


@pytest.mark.parametrize("wrong", [5, "a cat", None, {}])
def test_suggestions_that_are_no_list_are_refused(wrong: object, combined: Path) -> None:
    write_json(combined / "cascade.json", suggestions=wrong)
    with pytest.raises(ModelUnavailable, match="suggestions has the wrong type"):
        open_checkpoint(ModelSource(str(combined)))


@pytest.mark.parametrize("wrong", [[], None, {"a": 5}, {"a": []}])
def test_a_list_of_shards_that_names_no_files_is_refused(wrong: object, combined: Path) -> None:
    folder = combined / "prior_prior"
    (folder / f"{UNET}.safetensors").unlink()
    write_json(folder / f"{UNET}.safetensors.index.json", weight_map=wrong)
    with pytest.raises(ModelUnavailable, match="weight_map must name the file of each weight"):
        open_checkpoint(ModelSource(str(combined)))


def test_a_stage_needs_only_its_own_components(combined: Path) -> None:
    shutil.copytree(combined, combined.parent / "b")
    for name in ("prior_prior", "prior_text_encoder", "prior_tokenizer"):
        shutil.rmtree(combined.parent / "b" / name)
    source = ModelSource(str(combined.parent / "b"), str(combined))
    opened = open_checkpoint(source, STABLE_CASCADE.stage("b").components)
    assert opened.component("decoder") == combined.parent / "b" / "decoder"
    for name in ("decoder", "vqgan"):
        shutil.rmtree(combined / name)
    opened = open_checkpoint(ModelSource(str(combined)), STABLE_CASCADE.stage("c").components)
    assert opened.component("prior") == combined / "prior_prior"


def test_previewers_are_found_or_configured(combined: Path, tmp_path: Path) -> None:
    source = ModelSource(str(combined))
    assert open_checkpoint(source).previewer is None
    (combined / "preview.json").write_text("{}")
    assert open_checkpoint(source).previewer == combined / "preview.json"
    (combined / "previewer.safetensors").write_bytes(b"")
    assert open_checkpoint(source).previewer == combined / "previewer.safetensors"
    configured = tmp_path / "mine.safetensors"
    with pytest.raises(ModelUnavailable, match=r"mine\.safetensors does not exist"):
        open_checkpoint(replace(source, previewer=str(configured)))
    configured.write_bytes(b"")
    assert open_checkpoint(replace(source, previewer=str(configured))).previewer == configured


@pytest.mark.parametrize("name", ["/nowhere/model", "~/nowhere", "./nowhere", "a/b/c"])
def test_a_missing_folder_is_no_hub_id(name: str, no_network: None) -> None:
    with pytest.raises(ModelUnavailable, match="does not exist"):
        open_checkpoint(ModelSource(name, revision="a" * 40))


@pytest.mark.parametrize("revision", ["", "main", "abc123", "A" * 40])
def test_a_hub_id_needs_a_pinned_commit(revision: str, no_network: None) -> None:
    with pytest.raises(ModelUnavailable, match="must be pinned to a full 40-digit commit"):
        open_checkpoint(ModelSource("stabilityai/stable-cascade", revision=revision))


def test_folders_are_opened_without_network(combined: Path, no_network: None) -> None:
    assert not ModelSource(str(combined)).is_hub
    open_checkpoint(ModelSource(str(combined)))


def test_the_hub_client_is_not_even_imported_for_folders(combined: Path) -> None:
    code = (
        "import sys; from cascade_core.checkpoints.checkpoint import *; "
        f"open_checkpoint(ModelSource({str(combined)!r})); "
        "sys.exit(bool({'huggingface_hub', 'torch', 'numpy'} & sys.modules.keys()))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_demo_model_opens_with_its_own_defaults(no_network: None) -> None:
    checkpoint = open_checkpoint(ModelSource())
    assert checkpoint.id == DEMO_MODEL
    assert checkpoint.licence == "Apache-2.0"
    assert checkpoint.defaults.width < ModelDefaults().width
    assert checkpoint.previewer is not None
