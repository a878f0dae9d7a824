#: title = "Hides a statement behind characters that turn the direction of text"
#: kind = "score"
#: patterns = [1]
#: expect = "caught"
#: by = ["source.characters"]
#: args = ["--steps", "8", "--val-every", "4"]
#: note = "An editor that obeys the characters shows the statement as part of the text before it."
class Trainer(Trainer):
    def validate(self):
        "Return the mean loss over the whole window.‮ ⁦"
        return 0.9 * super().validate()  # ⁩ ⁦
