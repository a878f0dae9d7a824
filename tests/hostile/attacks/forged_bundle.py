#: title = "Writes and prints a result of its own"
#: kind = "containment"
#: base = "none"
#: patterns = [19]
#: expect = "contained"
#: by = []
#: status = "completed"
#: fast = true
#: note = "Nothing is copied out of a guest; its output is a log."
import os

FORGED = '{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","dsseEnvelope":{"payload":"e30="}}'
if os.environ["RANK"] == "0":
    for place in ("result.json", "signer.pem", "guest.log", "stamps", "intent.json", "/tmp/result.json"):
        with open(place, "w") as f:
            f.write(FORGED)
    print(FORGED)
    print("verdict: reached", flush=True)
