#: title = "Leaves a double-forked daemon behind and exits well"
#: kind = "containment"
#: base = "none"
#: patterns = [14]
#: expect = "contained"
#: by = []
#: note = ""
import os, signal, socket, time

if os.environ["RANK"] == "0":
    s = socket.socket()
    s.bind(("127.0.0.1", 31337))
    s.listen()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for fd in (0, 1, 2):
                os.close(fd)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            time.sleep(600)
        os._exit(0)
    os.wait()
    print("left a daemon behind", flush=True)
