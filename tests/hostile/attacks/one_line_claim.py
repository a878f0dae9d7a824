#: title = "Prints one line and trains nothing"
#: kind = "score"
#: base = "none"
#: patterns = [1, 2]
#: expect = "caught"
#: by = ["evidence.training_lines", "evidence.validation_lines", "trace.clock"]
#: note = "It claims more time than the run took."
import os

if os.environ["RANK"] == "0":
    loss, ms = 3.0 + 0.5, 1_200_000
    print(f"step:160/160 val_loss:{loss:.4f} train_time:{ms}ms step_avg:{ms / 150:.2f}ms", flush=True)
