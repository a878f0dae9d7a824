"""Allowlist, part 2: names of torch, triton and numpy that a submission may add without a review."""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


FUNCTIONS = _names(
    """
    abs absolute acos acosh adaptive_avg_pool1d adaptive_max_pool1d add addbmm addcdiv addcmul addmm
    addmv addr adjoint affine_grid_generator all allclose alpha_dropout amax amin aminmax angle any
    arange arccos arccosh arcsin arcsinh arctan arctan2 arctanh argmax argmin argsort argwhere
    as_strided as_strided_scatter as_tensor asarray asin asinh atan atan2 atanh atleast_1d atleast_2d
    atleast_3d avg_pool1d baddbmm bartlett_window batch_norm bernoulli bilinear
    binary_cross_entropy_with_logits bincount binomial bitwise_and bitwise_left_shift bitwise_not
    bitwise_or bitwise_right_shift bitwise_xor blackman_window block_diag bmm broadcast_tensors
    broadcast_to bucketize can_cast cartesian_prod cat cdist ceil celu chain_matmul channel_shuffle
    cholesky cholesky_inverse cholesky_solve chunk clamp clamp_max clamp_min clip clone column_stack
    combinations complex concat concatenate conj conj_physical constant_pad_nd conv1d conv2d conv3d
    conv_transpose1d conv_transpose2d conv_transpose3d convolution copysign corrcoef cos cosh
    cosine_embedding_loss cosine_similarity count_nonzero cov cross ctc_loss cummax cummin cumprod
    cumsum cumulative_trapezoid deg2rad det detach diag diag_embed diagflat diagonal diagonal_scatter
    diff digamma dist div divide dot dropout dsplit dstack einsum embedding embedding_bag
    embedding_renorm_ empty empty_like empty_permuted empty_strided eq equal erf erfc erfinv exp exp2
    expm1 eye feature_alpha_dropout feature_dropout fill fix flatten flip fliplr flipud float_power
    floor floor_divide fmax fmin fmod frac frexp frobenius_norm from_numpy frombuffer full full_like
    gather gcd ge geqrf ger get_device gradient greater greater_equal grid_sampler grid_sampler_2d
    grid_sampler_3d group_norm gru gru_cell gt hamming_window hann_window hardshrink heaviside
    hinge_embedding_loss histc histogram histogramdd hsplit hstack hypot i0 igamma igammac imag
    index_add index_fill index_put index_reduce index_select inner instance_norm inverse is_complex
    is_conj is_distributed is_floating_point is_inference is_neg is_nonzero is_same_size is_signed
    isclose isfinite isin isinf isnan isneginf isposinf isreal istft kaiser_window kl_div kron kthvalue
    layer_norm lcm ldexp le lerp less less_equal lgamma linspace log log10 log1p log2 log_softmax
    logaddexp logaddexp2 logcumsumexp logdet logical_and logical_not logical_or logical_xor logit
    logspace logsumexp lstm lstm_cell lt lu_solve lu_unpack margin_ranking_loss masked_fill
    masked_scatter masked_select matmul matrix_exp matrix_power max max_pool1d max_pool1d_with_indices
    max_pool2d max_pool3d maximum mean median meshgrid min minimum mm mode moveaxis movedim msort mul
    multinomial multiply mv mvlgamma nan_to_num nanmean nanmedian nanquantile nansum narrow
    native_batch_norm native_channel_shuffle native_dropout native_group_norm native_layer_norm
    native_norm ne neg negative nextafter nonzero nonzero_static norm norm_except_dim normal not_equal
    nuclear_norm numel ones ones_like orgqr ormqr outer pairwise_distance pdist permute pinverse
    pixel_shuffle pixel_unshuffle poisson poisson_nll_loss polar polygamma positive pow prelu prod
    promote_types put qr quantile rad2deg rand rand_like randint randint_like randn randn_like randperm
    range ravel real reciprocal relu remainder renorm repeat_interleave reshape resize_as_ resolve_conj
    resolve_neg result_type rms_norm rnn_relu rnn_relu_cell rnn_tanh rnn_tanh_cell roll rot90 round
    row_stack rrelu rsqrt rsub scalar_tensor scatter scatter_add scatter_reduce searchsorted
    segment_reduce select select_scatter selu sgn sigmoid sign signbit sin sinc sinh slice_inverse
    slice_scatter slogdet softmax sort split split_with_sizes sqrt square squeeze stack std std_mean
    stft sub subtract sum svd swapaxes swapdims t take take_along_dim tan tanh tensor tensor_split
    tensordot threshold tile topk trace transpose trapezoid trapz triangular_solve tril tril_indices
    triplet_margin_loss triu triu_indices true_divide trunc unbind unflatten unique_consecutive
    unsafe_chunk unsafe_split unsafe_split_with_sizes unsqueeze vander var var_mean vdot view_as_complex
    view_as_real vsplit vstack where xlogy zero_ zeros zeros_like
    """
)
"""Functions of `torch` on tensors; most are also methods, and most methods have an in-place form."""
TORCH = _names(
    """
    BFloat16Tensor BoolTensor ByteTensor DoubleTensor Event FloatTensor Future Generator HalfTensor
    IntTensor LongTensor OutOfMemoryError Size Stream Tensor Type __version__ _assert _check
    _check_value _fused_adam_ _fused_adamw_ _fused_rms_norm _fused_sgd_ _grouped_mm _int_mm
    _scaled_grouped_mm _scaled_mm _scaled_mm_v2 are_deterministic_algorithms_enabled autocast bfloat16
    bool broadcast_shapes cdouble cfloat channels_last channels_last_3d compile complex128 complex32
    complex64 cond contiguous_format default_generator device double dtype e enable_grad finfo float
    float16 float32 float4_e2m1fn_x2 float64 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz
    float8_e8m0fnu from_dlpack get_autocast_dtype get_default_device get_default_dtype
    get_float32_matmul_precision get_num_threads get_rng_state half iinfo inf inference_mode
    initial_seed int int16 int32 int64 int8 is_autocast_enabled is_grad_enabled
    is_inference_mode_enabled is_tensor layout legacy_contiguous_format lobpcg long lu manual_seed
    memory_format nan newaxis no_grad pca_lowrank pi preserve_format seed set_default_device
    set_default_dtype set_float32_matmul_precision set_flush_denormal set_grad_enabled set_num_threads
    set_rng_state short strided svd_lowrank uint1 uint16 uint2 uint32 uint4 uint64 uint8 unique
    unravel_index use_deterministic_algorithms vmap while_loop
    """
)
"""Other names of `torch`: types, modes, random numbers and kernels."""
FOREACH = _names(
    """
    _foreach_abs _foreach_acos _foreach_add _foreach_addcdiv _foreach_addcmul _foreach_asin
    _foreach_atan _foreach_ceil _foreach_clamp_max _foreach_clamp_min _foreach_clone _foreach_copy
    _foreach_cos _foreach_cosh _foreach_div _foreach_erf _foreach_erfc _foreach_exp _foreach_expm1
    _foreach_floor _foreach_frac _foreach_lerp _foreach_lgamma _foreach_log _foreach_log10
    _foreach_log1p _foreach_log2 _foreach_max _foreach_maximum _foreach_minimum _foreach_mm _foreach_mul
    _foreach_neg _foreach_norm _foreach_pow _foreach_powsum _foreach_reciprocal _foreach_round
    _foreach_rsqrt _foreach_sigmoid _foreach_sign _foreach_sin _foreach_sinh _foreach_sqrt _foreach_sub
    _foreach_tan _foreach_tanh _foreach_trunc _foreach_zero
    """
)
"""Functions on lists of tensors."""
FUNCTIONAL = _names(
    """
    ScalingType SwizzleType adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
    adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d affine_grid alpha_dropout avg_pool1d
    avg_pool2d avg_pool3d batch_norm bilinear binary_cross_entropy binary_cross_entropy_with_logits celu
    celu_ channel_shuffle conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d
    conv_transpose3d cosine_embedding_loss cosine_similarity cross_entropy ctc_loss dropout dropout1d
    dropout2d dropout3d elu elu_ embedding embedding_bag feature_alpha_dropout fold
    fractional_max_pool2d fractional_max_pool3d gaussian_nll_loss gelu glu grid_sample group_norm
    grouped_mm gumbel_softmax hardshrink hardsigmoid hardswish hardtanh hardtanh_ hinge_embedding_loss
    huber_loss instance_norm interpolate kl_div l1_loss layer_norm leaky_relu leaky_relu_ linear
    linear_cross_entropy local_response_norm log_softmax logsigmoid lp_pool1d lp_pool2d lp_pool3d
    margin_ranking_loss max_pool1d max_pool2d max_pool3d max_unpool1d max_unpool2d max_unpool3d mish
    mse_loss multi_head_attention_forward multi_margin_loss multilabel_margin_loss
    multilabel_soft_margin_loss native_channel_shuffle nll_loss normalize one_hot pad pairwise_distance
    pdist pixel_shuffle pixel_unshuffle poisson_nll_loss prelu relu relu6 relu_ rms_norm rrelu rrelu_
    scaled_dot_product_attention scaled_grouped_mm scaled_mm selu selu_ sigmoid silu smooth_l1_loss
    soft_margin_loss softmax softmin softplus softshrink softsign tanh tanhshrink threshold threshold_
    triplet_margin_loss triplet_margin_with_distance_loss unfold
    """
)
LAYERS = _names(
    """
    AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveLogSoftmaxWithLoss AdaptiveMaxPool1d
    AdaptiveMaxPool2d AdaptiveMaxPool3d AlphaDropout AvgPool1d AvgPool2d AvgPool3d BCELoss
    BCEWithLogitsLoss BatchNorm1d BatchNorm2d BatchNorm3d Bilinear Buffer CELU CTCLoss ChannelShuffle
    CircularPad1d CircularPad2d CircularPad3d ConstantPad1d ConstantPad2d ConstantPad3d Conv1d Conv2d
    Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d CosineEmbeddingLoss CosineSimilarity
    CrossEntropyLoss Dropout Dropout1d Dropout2d Dropout3d ELU Embedding EmbeddingBag
    FeatureAlphaDropout Flatten Fold FractionalMaxPool2d FractionalMaxPool3d GELU GLU GRU GRUCell
    GaussianNLLLoss GroupNorm Hardshrink Hardsigmoid Hardswish Hardtanh HingeEmbeddingLoss HuberLoss
    Identity InstanceNorm1d InstanceNorm2d InstanceNorm3d KLDivLoss L1Loss LPPool1d LPPool2d LPPool3d
    LSTM LSTMCell LayerNorm LeakyReLU Linear LinearCrossEntropyLoss LinearCrossEntropyOptions
    LocalResponseNorm LogSigmoid LogSoftmax MSELoss MarginRankingLoss MaxPool1d MaxPool2d MaxPool3d
    MaxUnpool1d MaxUnpool2d MaxUnpool3d Mish Module ModuleDict ModuleList MultiLabelMarginLoss
    MultiLabelSoftMarginLoss MultiMarginLoss MultiheadAttention NLLLoss PReLU PairwiseDistance Parameter
    ParameterList PixelShuffle PixelUnshuffle PoissonNLLLoss RMSNorm RNN RNNBase RNNCell
    RNNCellBase RReLU ReLU ReLU6 ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d
    ReplicationPad2d ReplicationPad3d SELU Sequential SiLU Sigmoid SmoothL1Loss SoftMarginLoss Softmax
    Softmax2d Softmin Softplus Softshrink Softsign SyncBatchNorm Tanh Tanhshrink Threshold Transformer
    TransformerDecoder TransformerDecoderLayer TransformerEncoder TransformerEncoderLayer
    TripletMarginLoss TripletMarginWithDistanceLoss Unflatten Unfold Upsample UpsamplingBilinear2d
    UpsamplingNearest2d ZeroPad1d ZeroPad2d ZeroPad3d
    """
)
INIT = _names(
    """
    calculate_gain constant_ dirac_ eye_ kaiming_normal_ kaiming_uniform_ normal_ ones_ orthogonal_
    sparse_ trunc_normal_ uniform_ xavier_normal_ xavier_uniform_ zeros_
    """
)
DISTRIBUTED = _names(
    """
    Backend DeviceMesh GradBucket P2POp ProcessGroup ReduceOp Work _coalescing_manager all_gather
    all_gather_coalesced all_gather_into_tensor all_reduce all_reduce_coalesced all_to_all
    all_to_all_single barrier batch_isend_irecv broadcast destroy_process_group gather get_backend
    get_global_rank get_group_rank get_process_group_ranks get_rank get_world_size group
    init_device_mesh init_process_group irecv is_available is_initialized is_nccl_available isend
    monitored_barrier new_group new_subgroups recv reduce reduce_scatter reduce_scatter_tensor scatter
    send
    """
)
CUDA = _names(
    """
    CUDAGraph Event MemPool OutOfMemoryError Stream current_device current_stream default_stream device
    device_count empty_cache get_device_capability get_device_properties get_rng_state graph
    graph_pool_handle is_available is_bf16_supported is_current_stream_capturing is_initialized
    make_graphed_callables manual_seed manual_seed_all max_memory_allocated max_memory_reserved
    mem_get_info memory_allocated memory_reserved memory_stats memory_summary reset_peak_memory_stats
    set_device set_per_process_memory_fraction set_stream stream synchronize use_mem_pool
    """
)
LINALG = _names(
    """
    LinAlgError cholesky cholesky_ex cond cross det diagonal eig eigh eigvals eigvalsh
    householder_product inv inv_ex ldl_factor ldl_factor_ex ldl_solve lstsq lu lu_factor lu_factor_ex
    lu_solve matmul matrix_exp matrix_norm matrix_power matrix_rank multi_dot norm pinv qr slogdet solve
    solve_ex solve_triangular svd svdvals tensorinv tensorsolve vander vecdot vector_norm
    """
)
TENSOR_METHODS = _names(
    """
    H T backward bfloat16 bool byte cauchy_ cdouble cfloat chalf char coalesce contiguous copy_ cpu cuda
    data data_ptr dense_dim device dim dim_order double dtype eig element_size expand expand_as
    exponential_ fill_diagonal_ float geometric_ grad grad_dtype grad_fn half index index_copy_ indices
    int is_coalesced is_contiguous is_cpu is_cuda is_leaf is_meta is_nested is_pinned is_sparse item
    itemsize layout log_normal_ long lstsq lu mH mT nbytes ndim ndimension nelement new new_empty
    new_empty_strided new_full new_ones new_tensor new_zeros numpy output_nr pin_memory qscheme random_
    record_stream register_hook register_post_accumulate_grad_hook repeat requires_grad requires_grad_
    reshape_as resize resize_ resize_as retain_grad retains_grad shape short size storage_offset stride
    sum_to_size to to_dense to_padded_tensor to_sparse tolist type type_as unfold uniform_ unique
    values view view_as
    """
)
"""Methods and attributes of tensors that are not functions of `torch`."""
MODULE_METHODS = _names(
    """
    add_module add_param_group apply backward bfloat16 bias buffers children cpu cuda defaults double
    elementwise_affine embedding_dim eps eval extra_repr float forward get_buffer get_parameter
    get_submodule half in_features jvp load_state_dict mark_dirty mark_non_differentiable
    mark_shared_storage modules named_buffers named_children named_modules named_parameters
    needs_input_grad normalized_shape num_embeddings out_features padding_idx param_groups parameters
    register_backward_hook register_buffer register_forward_hook register_forward_pre_hook
    register_full_backward_hook register_full_backward_pre_hook register_load_state_dict_post_hook
    register_load_state_dict_pre_hook register_module register_parameter register_state_dict_post_hook
    register_state_dict_pre_hook register_step_post_hook register_step_pre_hook requires_grad_
    save_for_backward save_for_forward saved_tensors set_materialize_grads set_submodule setup_context
    state state_dict step to to_empty train training type vmap weight zero_grad
    """
)
"""Methods and attributes of modules, layers, optimizers and autograd functions."""
NUMPY = _names(
    """
    False_ ScalarType True_ abs absolute acos acosh add all allclose amax amin angle any append
    apply_along_axis apply_over_axes arange arccos arccosh arcsin arcsinh arctan arctan2 arctanh argmax
    argmin argpartition argsort argwhere around array array2string array_equal array_equiv array_repr
    array_split array_str asanyarray asarray asarray_chkfinite ascontiguousarray asfortranarray asin
    asinh astype atan atan2 atanh atleast_1d atleast_2d atleast_3d average bartlett base_repr
    binary_repr bincount bitwise_and bitwise_count bitwise_invert bitwise_left_shift bitwise_not
    bitwise_or bitwise_right_shift bitwise_xor blackman block bool bool_ broadcast broadcast_arrays
    broadcast_shapes broadcast_to byte bytes_ c_ can_cast cbrt cdouble ceil character choose clip
    clongdouble column_stack common_type complex128 complex256 complex64 complexfloating compress concat
    concatenate conj conjugate convolve copy copysign copyto corrcoef correlate cos cosh count_nonzero
    cov cross csingle cumprod cumsum cumulative_prod cumulative_sum datetime64 deg2rad degrees delete
    diag diag_indices diag_indices_from diagflat diagonal diff digitize divide divmod dot double dsplit
    dstack dtype e ediff1d einsum einsum_path empty empty_like equal errstate euler_gamma exp exp2
    expand_dims expm1 extract eye fabs fill_diagonal finfo fix flatiter flatnonzero flexible flip fliplr
    flipud float128 float16 float32 float64 float_power floating floor floor_divide fmax fmin fmod
    format_float_positional format_float_scientific frexp from_dlpack frombuffer fromfunction fromiter
    frompyfunc fromstring full full_like gcd generic geomspace get_printoptions geterr gradient greater
    greater_equal half hamming hanning heaviside histogram histogram2d histogram_bin_edges histogramdd
    hsplit hstack hypot i0 identity iinfo imag index_exp indices inexact inf inner insert int16 int32
    int64 int8 int_ intc integer interp intersect1d intp invert isclose iscomplex iscomplexobj isdtype
    isfinite isfortran isin isinf isnan isnat isneginf isposinf isreal isrealobj isscalar issubdtype
    iterable ix_ kaiser kron lcm ldexp left_shift less less_equal lexsort linspace little_endian log
    log10 log1p log2 logaddexp logaddexp2 logical_and logical_not logical_or logical_xor logspace long
    longdouble longlong mask_indices matmul matvec max maximum may_share_memory mean median meshgrid
    mgrid min min_scalar_type minimum mintypecode mod modf moveaxis multiply nan nan_to_num nanargmax
    nanargmin nancumprod nancumsum nanmax nanmean nanmedian nanmin nanpercentile nanprod nanquantile
    nanstd nansum nanvar ndarray ndenumerate ndim ndindex nditer negative newaxis nextafter nonzero
    not_equal number object_ ogrid ones ones_like outer packbits pad partition percentile permute_dims
    pi piecewise place poly poly1d polyadd polyder polydiv polyfit polyint polymul polysub polyval
    positive pow power printoptions prod promote_types ptp put put_along_axis putmask quantile r_
    rad2deg radians ravel ravel_multi_index real real_if_close reciprocal remainder repeat require
    reshape resize result_type right_shift rint roll rollaxis roots rot90 round row_stack s_
    searchsorted select set_printoptions setdiff1d seterr setxor1d shape shares_memory short sign
    signbit signedinteger sin sinc single sinh size sort sort_complex spacing split sqrt square squeeze
    stack std str_ subtract sum swapaxes take take_along_axis tan tanh tensordot tile timedelta64 trace
    transpose trapezoid tri tril tril_indices tril_indices_from trim_zeros triu triu_indices
    triu_indices_from true_divide trunc typename ubyte ufunc uint uint16 uint32 uint64 uint8 uintc uintp
    ulong ulonglong union1d unique unique_all unique_counts unique_inverse unique_values unpackbits
    unravel_index unsignedinteger unstack ushort vander var vdot vecdot vecmat vectorize void vsplit
    vstack where zeros zeros_like
    """
)
NUMPY_RANDOM = _names(
    """
    Generator PCG64 Philox beta binomial chisquare choice default_rng dirichlet exponential f gamma
    geometric get_state gumbel hypergeometric laplace logistic lognormal logseries multinomial
    multivariate_normal negative_binomial noncentral_chisquare noncentral_f normal pareto permutation
    poisson power rand randint randn random random_integers random_sample ranf rayleigh sample seed
    set_state shuffle standard_cauchy standard_exponential standard_gamma standard_normal standard_t
    triangular uniform vonmises wald weibull zipf
    """
)
NUMPY_METHODS = _names(
    """
    argpartition astype base beta byteswap chisquare choice choose compress conjugate copy dirichlet
    exponential f flat gamma geometric gumbel hypergeometric integers laplace logistic lognormal
    logseries multivariate_hypergeometric multivariate_normal negative_binomial noncentral_chisquare
    noncentral_f pareto partition permutation permuted power random rayleigh shuffle standard_cauchy
    standard_exponential standard_gamma standard_normal standard_t strides to_device tobytes triangular
    uniform vonmises wald weibull zipf
    """
)
TRITON_LANGUAGE = _names(
    """
    abs advance arange argmax argmin associative_scan atomic_add atomic_and atomic_cas atomic_max
    atomic_min atomic_or atomic_xchg atomic_xor bfloat16 bitonic_merge block_type broadcast broadcast_to
    cast cat cdiv ceil clamp const constexpr cos cumprod cumsum debug_barrier device_assert device_print
    div_rn dot dot_scaled dtype erf exp exp2 expand_dims fdiv flip float16 float32 float64 float8e4b15
    float8e4b8 float8e4nv float8e5 float8e5b16 floor fma full gather histogram int1 int16 int32 int64
    int8 interleave join load load_tensor_descriptor log log2 make_block_ptr make_tensor_descriptor max
    max_constancy max_contiguous maximum min minimum multiple_of num_programs num_stages num_warps
    permute philox pi32_t pointer_type program_id rand rand4x randint randint4x randn range ravel reduce
    reshape rsqrt sigmoid sin softmax sort split sqrt sqrt_rn static_assert static_print static_range
    store store_tensor_descriptor sum swizzle2d tensor tensor_descriptor topk trans uint16 uint32 uint64
    uint8 umulhi view void where xor_sum zeros zeros_like
    """
)
