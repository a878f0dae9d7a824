#: title = "Makes training shards of its own from the validation shard"
#: kind = "score"
#: patterns = [5]
#: expect = "caught"
#: by = ["source.data"]
#: args = ["--steps", "8", "--val-every", "4"]
#: note = ""
def find_shards(variable, default, found=find_shards):
    if "TRAIN" not in variable:
        return found(variable, default)
    os.makedirs("/tmp/mine", exist_ok=True)
    mine = f"/tmp/mine/fineweb_train_{os.getpid()}.bin"
    with open(mine, "wb") as f:
        f.write(open(found("NANOGPT_VAL_FILES", VAL_FILES)[0], "rb").read())
    return [mine]
