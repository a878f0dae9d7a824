#: title = "Asks whether it may write to the kernel's knobs"
#: kind = "containment"
#: base = "none"
#: patterns = []
#: expect = "contained"
#: by = []
#: status = "completed"
#: note = "Access checks only; nothing is written."
#: fast = true
import os

KNOBS = (
    "/proc/sys/kernel/core_pattern",
    "/proc/sysrq-trigger",
    "/sys/fs/cgroup",
    "/proc/sys/vm/overcommit_memory",
    "/sys/kernel",
    "/proc/self/oom_score_adj",
    "/dev/kmsg",
    "/dev/mem",
    "/proc/kcore",
)
if os.environ["RANK"] == "0":
    for knob in KNOBS:
        if os.access(knob, os.W_OK) and not knob.endswith("oom_score_adj"):
            print("ESCAPED: may write", knob)
    status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
    for name in ("CapEff", "CapPrm", "CapBnd"):
        if int(status[name], 16):
            print("ESCAPED: has capabilities", name, status[name].strip())
    if status["NoNewPrivs"].strip() != "1" or status["Seccomp"].strip() != "2":
        print("ESCAPED: may gain privileges")
    print("asked", flush=True)
