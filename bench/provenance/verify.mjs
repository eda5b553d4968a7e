// Verifies the files in a folder with two other programs, and prints what they say as JSON.
// The folder has trust.pem, certificates that are trusted. Run where the packages are installed.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import init, { WasmReader } from "@contentauth/c2pa-wasm";
import { JPEG, PNG } from "@trustnxt/c2pa-ts/asset";
import { SuperBox } from "@trustnxt/c2pa-ts/jumbf";
import { ManifestStore } from "@trustnxt/c2pa-ts/manifest";

const [folder] = process.argv.slice(2);
const trusted = readFileSync(join(folder, "trust.pem"), "utf8");
const context = JSON.stringify({
  trust: { trust_anchors: trusted },
  verify: { verify_trust: true, remote_manifest_fetch: false, ocsp_fetch: false },
});
const wasm = new URL("c2pa_bg.wasm", import.meta.resolve("@contentauth/c2pa-wasm"));
await init({ module_or_path: readFileSync(wasm) });

async function byOtherBuild(data, format) {
  try {
    const reader = await WasmReader.fromBytes(`image/${format}`, new Uint8Array(data), context);
    return JSON.parse(reader.json()).validation_state.toLowerCase();
  } catch (error) {
    return `error: ${error}`;
  }
}

// It reads no WebP, and does not look at the chain of certificates.
async function byOtherProgram(data, format) {
  if (format === "webp") return null;
  try {
    const asset = format === "png" ? new PNG(data) : new JPEG(data);
    const store = ManifestStore.read(SuperBox.fromBuffer(asset.getManifestJUMBF()));
    return (await store.validate(asset)).isValid ? "valid" : "invalid";
  } catch (error) {
    return `error: ${error}`;
  }
}

const found = {};
for (const name of readdirSync(folder).filter((one) => !one.endsWith(".pem"))) {
  const data = readFileSync(join(folder, name));
  const format = name.split(".").at(-1);
  const [build, program] = [await byOtherBuild(data, format), await byOtherProgram(data, format)];
  found[name] = { "c2pa-wasm": build, "c2pa-ts": program };
}
console.log(JSON.stringify(found));
