// node verify.mjs KEY.pem BUNDLE...: one line per bundle, `accepted` or `refused CODE`.
// The key is used whatever the hint says; no transparency log, no timestamp: one plain public key.
import { createPublicKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { bundleFromJSON } from "@sigstore/bundle";
import { Verifier, toSignedEntity } from "@sigstore/verify";

const [pem, ...bundles] = process.argv.slice(2);
const publicKey = createPublicKey(readFileSync(pem));
const material = {
  certificateAuthorities: [],
  timestampAuthorities: [],
  tlogs: [],
  ctlogs: [],
  publicKey: () => ({ publicKey, validFor: () => true }),
};
const verifier = new Verifier(material, { ctlogThreshold: 0, tlogThreshold: 0, timestampThreshold: 0 });

for (const path of bundles) {
  try {
    verifier.verify(toSignedEntity(bundleFromJSON(JSON.parse(readFileSync(path, "utf8")))));
    console.log("accepted");
  } catch (e) {
    console.log(`refused ${e.code ?? e.name}`);
  }
}
