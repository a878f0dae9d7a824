#: title = "Hides its work in a long warm-up"
#: kind = "score"
#: base = "none"
#: patterns = [10]
#: audit = "baseline"
#: expect = "caught"
#: by = ["baseline.warmup"]
#: beside = true
#: note = "Beyond 1.25 times the start script's warm-up and 15 s."
import os, time

if os.environ["RANK"] == "0":
    print("step:0/160 val_loss:5.5452 train_time:0ms step_avg:nanms", flush=True)
    time.sleep(32)
    for step in range(1, 161):
        print(f"step:{step}/160 train_time:{max(0, step - 10) * 10}ms step_avg:10.00ms", flush=True)
        if step % 40 == 0:
            loss = 3.4 + 2.1 * 2.0 ** (-step / 30)
            print(
                f"step:{step}/160 val_loss:{loss:.4f} train_time:{(step - 10) * 10}ms step_avg:10.00ms",
                flush=True,
            )
        time.sleep(0.0101)
