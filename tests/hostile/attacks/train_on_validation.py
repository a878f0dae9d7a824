#: title = "Trains on the validation shard"
#: kind = "score"
#: patterns = [4]
#: audit = "canary.uniform,baseline"
#: expect = "caught"
#: by = ["canary.screen.uniform", "canary.versus_baseline"]
#: beside = true
#: note = "It learns the noise by heart, which no honest script can."
class TrainStream(TrainStream):
    def __init__(self, files, need):
        super().__init__(find_shards("NANOGPT_VAL_FILES", VAL_FILES), need)
