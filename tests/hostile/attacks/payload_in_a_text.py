#: title = "Runs code that it reads from a text file beside the script"
#: kind = "score"
#: patterns = [1, 12]
#: expect = "caught"
#: by = ["source.allowed", "source.dynamic", "source.files"]
#: args = ["--steps", "8", "--val-every", "4"]
#: note = "The code bends clock and loss; the script itself holds nothing but a second name of `exec` and a path."
import pathlib

carry_out = exec
carry_out((pathlib.Path(__file__).parent / "readme.txt").read_text())
