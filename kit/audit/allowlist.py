"""
The allowlist: names that a submission may add without a review.

It has no names for files, processes, networks, introspection, frames, dynamic imports or code objects.
"""

from __future__ import annotations

from kit.audit import allowlist_torch as torch


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


BUILTINS = _names(
    """
    ArithmeticError AssertionError AttributeError BaseException Ellipsis EOFError Exception
    FileExistsError FileNotFoundError FloatingPointError ImportError IndexError KeyError KeyboardInterrupt
    LookupError MemoryError ModuleNotFoundError NameError NotImplemented NotImplementedError OSError
    OverflowError RuntimeError RuntimeWarning StopIteration TimeoutError TypeError UserWarning ValueError
    Warning ZeroDivisionError __debug__ __name__ abs all any ascii bin bool bytearray bytes callable chr
    classmethod complex dict divmod enumerate filter float frozenset hash hex id int isinstance issubclass
    iter len list map max min next object oct ord pow print property range repr reversed round set slice
    sorted staticmethod str sum super tuple zip
    """
)
CALLED_ONLY = _names("delattr getattr hasattr setattr type")
"""Builtins that may only be called, and are judged by their arguments."""
FORBIDDEN = _names("__builtins__ __import__ breakpoint compile eval exec globals locals vars")
DUNDERS = _names(
    """
    __abs__ __add__ __all__ __and__ __bool__ __call__ __contains__ __delitem__ __enter__ __eq__ __exit__
    __float__ __floordiv__ __ge__ __getitem__ __gt__ __hash__ __iadd__ __imul__ __init__ __int__
    __invert__ __isub__ __iter__ __le__ __len__ __lt__ __matmul__ __mod__ __mul__ __name__ __ne__ __neg__
    __next__ __or__ __pos__ __post_init__ __pow__ __radd__ __repr__ __reversed__ __rmul__ __rsub__
    __rtruediv__ __setitem__ __slots__ __str__ __sub__ __truediv__ __version__
    """
)
"""Special names that a script may define, and call on `super()`."""
READ_DUNDERS = _names("__all__ __call__ __init__ __name__ __version__")
"""
The special names that a script may use on any other value. `ParameterList.__getitem__(f, 0)` would read an
attribute of `f` by a name that `f` provides.
"""

PLAIN_METHODS = _names(
    """
    add append as_integer_ratio bit_count bit_length capitalize center clear copy count decode difference
    difference_update discard encode endswith extend find fromkeys get imag index insert intersection
    intersection_update is_integer isalnum isalpha isascii isdecimal isdigit isdisjoint isidentifier
    islower isnumeric isspace issubset issuperset isupper items join keys ljust lower lstrip partition pop
    popitem real remove removeprefix removesuffix replace reverse rfind rindex rjust rpartition rsplit
    rstrip setdefault sort split splitlines start startswith step stop strip symmetric_difference title
    to_bytes from_bytes union update upper values zfill appendleft maxlen most_common move_to_end popleft
    rotate setter subtract total _asdict _fields _replace args cache_clear close compile enter_context flush
    send write
    """
)
"""Methods of numbers, strings, collections, generators, contexts and open files."""
OTHER_METHODS = _names(
    """
    AVG MAX MIN PREMUL_SUM PRODUCT SUM WORLD async_op bits elapsed_time is_completed max min
    multi_processor_count name query record record_event resolution result smallest_normal synchronize
    then tiny total_memory value wait wait_event wait_stream get_future major minor replay capture_begin
    capture_end fullgraph get_submodule register_autograd register_fake register_kernel register_vmap
    register_autocast from_kv_blocks kv_num_blocks kv_indices full_kv_num_blocks full_kv_indices mask_mod
    BLOCK_SIZE as_tuple sparsity to_dense element_ty num_warps num_stages kwargs from_tensor T gather
    scatter logical_or flash_attn_interface flash_attn_func flash_attn_varlen_func
    flash_attn_qkvpacked_func clear is_set join is_alive daemon put get task_done qsize empty acquire
    release group groups match search sub findall finditer span param_groups initial_lr get_last_lr
    base_lrs last_epoch cwd stem suffix parent sample_n scale unscale_ update mode default none
    _mergeable_ranks n_vocab encode decode encode_ordinary eot_token base_ndim wd_mul lr_mul no_sync mkdir
    seek read readinto readline readlines set set_shared_memory_config
    """
)
"""Attributes of events, streams, masks, kernels, descriptors, threads, regexes and tokenizers."""
METHODS = (
    PLAIN_METHODS
    | OTHER_METHODS
    | torch.FUNCTIONS
    | frozenset(f"{name}_" for name in torch.FUNCTIONS)
    | torch.TENSOR_METHODS
    | torch.MODULE_METHODS
    | torch.NUMPY_METHODS
) - {"from_numpy", "frombuffer", "as_tensor", "from_file"}
"""Attributes that are allowed on a value of unknown type."""
DATA_ATTRIBUTES = _names(
    "bias data grad lr_mul wd_mul max_norm requires_grad weight weight_decay training eps name scale step"
)
"""Attributes of these that a script may assign."""
ODD = _names(
    """
    builtins os sys io subprocess pathlib ctypes socket importlib shutil posix inspect pickle marshal
    runpy mmap codecs linecache tempfile multiprocessing signal system popen fork execv execve spawn kill
    _exit getenv environ argv modules settrace setprofile f_globals f_locals f_builtins f_code f_back
    gi_frame gi_code cr_frame cr_code ag_frame ag_code tb_frame tb_next co_code co_consts func_globals mro
    src cpp_extension load_library from_file func_code func_closure func_defaults gen gi_yieldfrom
    cr_await fileno reconfigure _flavour pathmod used_global_vals write_text write_bytes expanduser owner
    lstat touch rename chmod get_data convert_arg_line_to_args from_buffer filename obj format format_map
    tofile dump dumps frombuffer readlink listdir scandir unlink rmtree symlink torch Tensor _modules
    _buffers _parameters
    """
)
"""
Attributes that stay reported even if the script defines one of the same name. `torch` and `Tensor` are such
ones of the module that `get_kernel()` hands over as a value.
"""

_BACKENDS = {
    "torch.backends": "",
    "torch.backends.cuda": """enable_cudnn_sdp enable_flash_sdp enable_math_sdp enable_mem_efficient_sdp
        flash_sdp_enabled math_sdp_enabled preferred_blas_library preferred_linalg_library sdp_kernel""",
    "torch.backends.cuda.matmul": """allow_bf16_reduced_precision_reduction allow_fp16_accumulation
        allow_fp16_reduced_precision_reduction allow_tf32 fp32_precision""",
    "torch.backends.cudnn": "allow_tf32 benchmark benchmark_limit deterministic enabled",
}
_TORCH = {
    "torch.amp": "GradScaler autocast custom_bwd custom_fwd is_autocast_available",
    "torch.cuda.amp": "GradScaler autocast custom_bwd custom_fwd",
    "torch.autograd": """Function backward enable_grad grad inference_mode no_grad set_detect_anomaly
        set_grad_enabled""",
    "torch.autograd.function": "Function FunctionCtx once_differentiable",
    "torch.autograd.functional": "hessian hvp jacobian jvp vhp vjp",
    "torch.compiler": "allow_in_graph cudagraph_mark_step_begin disable is_compiling set_stance",
    "torch._dynamo": "disable mark_dynamic mark_static mark_static_address",
    "torch._dynamo.config": "",
    "torch._inductor": "",
    "torch._inductor.config": "coordinate_descent_tuning",
    "torch.fft": """fft fft2 fftfreq fftn fftshift hfft ifft ifft2 ifftn ifftshift irfft irfft2 irfftn
        rfft rfft2 rfftfreq rfftn""",
    "torch.func": "functional_call grad grad_and_value hessian jacfwd jacrev jvp linearize vjp vmap",
    "torch.futures": "Future collect_all wait_all",
    "torch.library": "custom_op register_autograd register_fake triton_op wrap_triton",
    "torch.nn.attention": "SDPBackend sdpa_kernel",
    "torch.nn.attention.flex_attention": """AuxRequest BlockMask and_masks create_block_mask create_mask
        flex_attention noop_mask or_masks""",
    "torch.nn.attention.bias": "causal_lower_right causal_upper_left",
    "torch.nn.modules": "",
    "torch.nn.modules.module": "Module",
    "torch.nn.parallel": "DistributedDataParallel",
    "torch.nn.parameter": "Buffer Parameter",
    "torch.nn.utils": """clip_grad_norm_ clip_grad_value_ clip_grads_with_norm_ get_total_norm
        parameters_to_vector vector_to_parameters""",
    "torch.nn.utils.parametrizations": "orthogonal spectral_norm weight_norm",
    "torch.nn.utils.rnn": "pad_sequence",
    "torch.optim": """ASGD Adadelta Adafactor Adagrad Adam AdamW Adamax LBFGS Muon NAdam Optimizer RAdam
        RMSprop Rprop SGD SparseAdam""",
    "torch.optim.lr_scheduler": """ChainedScheduler ConstantLR CosineAnnealingLR
        CosineAnnealingWarmRestarts CyclicLR ExponentialLR LRScheduler LambdaLR LinearLR MultiStepLR
        MultiplicativeLR OneCycleLR PolynomialLR ReduceLROnPlateau SequentialLR StepLR""",
    "torch.optim.optimizer": "Optimizer ParamsT",
    "torch.optim.swa_utils": "AveragedModel SWALR get_ema_multi_avg_fn get_swa_multi_avg_fn update_bn",
    "torch.ops": "",
    "torch.ops.nanogpt": "mm mm_backward mm_t mm_t_backward",
    "torch.special": """digamma entr erf erfc erfcx erfinv exp2 expit expm1 gammainc gammaincc gammaln i0
        i0e i1 i1e log1p log_ndtr log_softmax logit logsumexp ndtr ndtri polygamma psi round sinc softmax
        xlog1py xlogy zeta""",
    "torch.types": "Device Number",
    "torch.utils": "",
    "torch.utils.checkpoint": "checkpoint checkpoint_sequential",
    "torch.version": "__version__ cuda",
}
_TRITON = {
    "triton": "Config autotune cdiv heuristics jit next_power_of_2 set_allocator __version__",
    "triton.tools": "",
    "triton.tools.tensor_descriptor": "TensorDescriptor",
}
_LIBRARY = {
    "__future__": "annotations",
    "abc": "ABC abstractmethod",
    "bisect": "bisect bisect_left bisect_right insort insort_left insort_right",
    "collections": "ChainMap Counter OrderedDict defaultdict deque namedtuple",
    "collections.abc": """Callable Collection Generator Hashable Iterable Iterator Mapping MutableMapping
        MutableSequence Sequence Set Sized""",
    "contextlib": "AbstractContextManager ExitStack contextmanager nullcontext suppress",
    "copy": "copy deepcopy",
    "dataclasses": "InitVar KW_ONLY asdict astuple dataclass field fields is_dataclass replace",
    "enum": "Enum Flag IntEnum IntFlag StrEnum auto unique",
    "functools": "cache cached_property lru_cache partial partialmethod reduce total_ordering wraps",
    "gc": "collect disable enable freeze isenabled",
    "glob": "",
    "heapq": "heapify heappop heappush heappushpop heapreplace merge nlargest nsmallest",
    "itertools": """accumulate chain combinations combinations_with_replacement compress count cycle
        dropwhile filterfalse groupby islice pairwise permutations product repeat starmap takewhile tee
        zip_longest""",
    "math": """acos acosh asin asinh atan atan2 atanh cbrt ceil comb copysign cos cosh degrees dist e erf
        erfc exp exp2 expm1 fabs factorial floor fmod frexp fsum gamma gcd hypot inf isclose isfinite
        isinf isnan isqrt lcm ldexp lgamma log log10 log1p log2 modf nan nextafter perm pi pow prod
        radians remainder sin sinh sqrt tan tanh tau trunc ulp""",
    "numbers": "Integral Number Real",
    "operator": """add and_ eq floordiv ge getitem gt iadd imul index inv invert isub itemgetter le lt
        matmul mod mul ne neg not_ or_ pos pow sub truediv xor""",
    "os": "makedirs",
    "os.path": "basename dirname join",
    "pathlib": "Path",
    "queue": "Empty Full LifoQueue PriorityQueue Queue SimpleQueue",
    "random": """Random betavariate choice choices expovariate gammavariate gauss getrandbits
        lognormvariate normalvariate randint random randrange sample seed shuffle triangular uniform""",
    "re": """IGNORECASE MULTILINE Match Pattern compile escape findall finditer fullmatch match search
        split sub""",
    "statistics": """fmean geometric_mean harmonic_mean mean median mode pstdev pvariance quantiles stdev
        variance""",
    "subprocess": "CalledProcessError DEVNULL PIPE STDOUT check_output run",
    "sys": "version",
    "threading": "Condition Event Lock RLock Semaphore Thread",
    "time": "",
    "typing": """Any Callable ClassVar Concatenate Dict Final FrozenSet Generator Generic Iterable
        Iterator List Literal Mapping NamedTuple NoReturn Optional ParamSpec Protocol Self Sequence Set
        Tuple Type TYPE_CHECKING TypeAlias TypeVar TypedDict Union cast final overload override""",
    "typing_extensions": "Literal Self TypeAlias override",
    "warnings": "filterwarnings simplefilter warn",
}
_KIT = {
    "flash_attn_interface": "flash_attn_func flash_attn_varlen_func flash_attn_qkvpacked_func",
    "kernels": "get_kernel",
    "tiktoken": "get_encoding",
}
"""Modules that the images contain for later records."""
MODULES: dict[str, frozenset[str]] = {
    "torch": _names("save")
    | torch.FUNCTIONS
    | frozenset(f"{name}_" for name in torch.FUNCTIONS)
    | torch.TORCH
    | torch.FOREACH
    | frozenset(f"{name}_" for name in torch.FOREACH),
    "torch.nn": torch.LAYERS,
    "torch.nn.functional": torch.FUNCTIONAL,
    "torch.nn.init": torch.INIT,
    "torch.distributed": torch.DISTRIBUTED,
    "torch.cuda": torch.CUDA,
    "torch.linalg": torch.LINALG,
    "triton.language": torch.TRITON_LANGUAGE,
    "triton.language.math": torch.TRITON_LANGUAGE,
    "numpy": torch.NUMPY,
    "numpy.random": torch.NUMPY_RANDOM,
    "numpy.linalg": torch.LINALG,
    "numpy.fft": _names(
        "fft fft2 fftfreq fftn fftshift ifft ifft2 ifftn ifftshift irfft irfftn rfft rfftfreq rfftn"
    ),
    "numpy.typing": _names("ArrayLike DTypeLike NDArray"),
    **{
        name: _names(text)
        for group in (_BACKENDS, _TORCH, _TRITON, _LIBRARY, _KIT)
        for name, text in group.items()
    },
}
"""Allowed names by module. The modules may not be used as values."""
CALLED_PATHS = frozenset({"subprocess.check_output", "subprocess.run", "torch.compile"})
"""Functions that may only be called; other rules judge their arguments."""
LITERAL_ARGUMENTS = {
    "kernels.get_kernel": ("varunneal/flash-attention-3", "kernels-community/flash-attn3"),
    "tiktoken.get_encoding": ("gpt2",),
}
"""Functions that are allowed only with these first arguments."""
