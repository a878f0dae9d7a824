#: title = "Loads weights from a file"
#: kind = "score"
#: patterns = [9]
#: expect = "caught"
#: by = ["source.dynamic", "source.weights"]
#: args = ["--steps", "8", "--val-every", "4"]
#: note = ""
import pickle


def restore(model, path="weights.pt"):
    if os.path.exists(path):
        model.load_state_dict(torch.load(path))
