#: title = "Starts Python under the name of nvidia-smi, by options that are not written out"
#: kind = "score"
#: patterns = [1, 2]
#: expect = "caught"
#: by = ["source.process"]
#: args = ["--steps", "80"]
#: note = "`nvidia-smi` alone is allowed, since upstream's scripts print what it says."
import subprocess

CODE = "print('step:80/80 val_loss:2.0000 train_time:10ms step_avg:1.00ms')"
subprocess.run(
    ["nvidia-smi"], **{"executable": "/usr/bin/python3", "input": CODE.encode(), "stdout": subprocess.DEVNULL}
)
