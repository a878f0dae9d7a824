#: title = "Takes all pseudo-terminals and asynchronous I/O contexts of the machine"
#: kind = "containment"
#: base = "none"
#: patterns = [14]
#: expect = "contained"
#: by = []
#: status = "completed"
#: note = "Both are counted for the whole machine: kernel.pty.max and fs.aio-max-nr."
#: fast = true
import ctypes, os

if os.environ["RANK"] == "0":
    got = 0
    for path in ("/dev/ptmx", "/dev/pts/ptmx"):
        try:
            while got < 64:
                os.open(path, os.O_RDWR | os.O_NOCTTY)
                got += 1
        except OSError as e:
            print(path, e, flush=True)
    context = ctypes.c_long(0)
    libc = ctypes.CDLL(None)
    aio = libc.syscall(ctypes.c_long(206), ctypes.c_long(1), ctypes.byref(context))
    print("ESCAPED: took terminals or contexts" if got or aio == 0 else "got none", got, aio, flush=True)
