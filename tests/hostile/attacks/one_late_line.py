#: title = "Prints one line, after as much time as it claims"
#: kind = "score"
#: base = "none"
#: patterns = [1, 2]
#: expect = "caught"
#: by = ["evidence.training_lines", "evidence.validation_lines"]
#: note = "Two clocks agree on one line, and prove no step."
import os, time

if os.environ["RANK"] == "0":
    time.sleep(9.5)
    loss, ms = 3.0 + 0.5, 9000
    print(f"step:160/160 val_loss:{loss:.4f} train_time:{ms}ms step_avg:{ms / 150:.2f}ms", flush=True)
