#: title = "Trains on the validation shard"
#: kind = "score"
#: patterns = [4]
#: audit = "canary.uniform,baseline"
#: expect = "flagged"
#: by = ["canary.versus_baseline"]
#: note = "On noise an honest script gets worse than chance; one that has seen these tokens does not."
class TrainStream(TrainStream):
    def __init__(self, files, need):
        super().__init__(find_shards("NANOGPT_VAL_FILES", VAL_FILES), need)
