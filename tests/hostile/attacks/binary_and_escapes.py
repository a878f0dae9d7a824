#: title = "Prints binary data, escape sequences and almost-lines"
#: kind = "containment"
#: base = "none"
#: patterns = [3, 19]
#: expect = "contained"
#: by = []
#: note = ""
import os

if os.environ["RANK"] == "0":
    os.write(1, bytes(range(256)) * 40 + b"\n")
    os.write(1, b"\xff\xfe step:100/100 val_loss:0.1000 train_time:1ms step_avg:1.00ms\n")
    os.write(1, b"\x1b[2J\x1b]0;owned\x07\x1b]52;c;cm0gLXJm\x07\n")
    os.write(2, "\u202egnp.exe \u0000\n".encode())
    os.write(1, b"step:100/100 val_loss:0.1000 train_time:1ms step_avg:1.00ms\r\n")
