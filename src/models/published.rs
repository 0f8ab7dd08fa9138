//! The shapes of published models, each by what counts of its `config.json`: what is planned from a
//! configuration alone, and drawn from it.

/// A model's configuration under the name people know it by.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    /// The name.
    pub name: &'static str,
    /// What it is the shape of.
    pub about: &'static str,
    /// What counts of its `config.json`.
    pub config: &'static str,
}

const fn shape(name: &'static str, about: &'static str, config: &'static str) -> Published {
    Published {
        name,
        about,
        config,
    }
}

/// All of them.
#[rustfmt::skip]
pub const PUBLISHED: &[Published] = &[
    shape("llama-3.2-3b", "LLaMA 3.2 3B", r#"
        {"model_type": "llama", "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers":
        28, "num_attention_heads": 24, "num_key_value_heads": 8, "vocab_size": 128256,
        "max_position_embeddings": 131072, "rms_norm_eps": 1e-05, "rope_theta": 500000.0,
        "tie_word_embeddings": true, "hidden_act": "silu", "head_dim": 128, "rope_scaling":
        {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192}, "torch_dtype": "bfloat16"}
    "#),
    shape("llama-2-7b", "LLaMA 2 7B, without grouped heads", r#"
        {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size":
        32000, "max_position_embeddings": 4096, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
        "tie_word_embeddings": false, "hidden_act": "silu", "torch_dtype": "bfloat16"}
    "#),
    shape("llama-3-8b", "LLaMA 3.1 8B", r#"
        {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size":
        128256, "max_position_embeddings": 131072, "rms_norm_eps": 1e-05, "rope_theta": 500000.0,
        "tie_word_embeddings": false, "hidden_act": "silu", "rope_scaling": {"rope_type": "llama3",
        "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192}, "torch_dtype": "bfloat16"}
    "#),
    shape("llama-3-70b", "LLaMA 3.1 70B", r#"
        {"model_type": "llama", "hidden_size": 8192, "intermediate_size": 28672,
        "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8, "vocab_size":
        128256, "max_position_embeddings": 131072, "rms_norm_eps": 1e-05, "rope_theta": 500000.0,
        "tie_word_embeddings": false, "hidden_act": "silu", "rope_scaling": {"rope_type": "llama3",
        "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192}, "torch_dtype": "bfloat16"}
    "#),
    shape("mixtral-8x7b", "Mixtral 8x7b", r#"
        {"model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
        "num_local_experts": 8, "num_experts_per_tok": 2, "vocab_size": 32000,
        "max_position_embeddings": 32768, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0,
        "tie_word_embeddings": false, "hidden_act": "silu", "torch_dtype": "bfloat16"}
    "#),
    shape("mixtral-8x22b", "Mixtral 8x22b", r#"
        {"model_type": "mixtral", "hidden_size": 6144, "intermediate_size": 16384,
        "num_hidden_layers": 56, "num_attention_heads": 48, "num_key_value_heads": 8,
        "num_local_experts": 8, "num_experts_per_tok": 2, "vocab_size": 32768,
        "max_position_embeddings": 65536, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0,
        "tie_word_embeddings": false, "hidden_act": "silu", "torch_dtype": "bfloat16"}
    "#),
    shape("olmoe-1b-7b", "OLMoE 1B-7B", r#"
        {"model_type": "olmoe", "hidden_size": 2048, "intermediate_size": 1024, "num_hidden_layers":
        16, "num_attention_heads": 16, "num_key_value_heads": 16, "num_experts": 64,
        "num_experts_per_tok": 8, "norm_topk_prob": false, "vocab_size": 50304,
        "max_position_embeddings": 4096, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
        "tie_word_embeddings": false, "hidden_act": "silu", "torch_dtype": "bfloat16"}
    "#),
    shape("qwen3-30b-a3b", "Qwen 3 30B-A3B", r#"
        {"model_type": "qwen3_moe", "hidden_size": 2048, "intermediate_size": 6144,
        "moe_intermediate_size": 768, "num_hidden_layers": 48, "num_attention_heads": 32,
        "num_key_value_heads": 4, "head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8,
        "norm_topk_prob": true, "decoder_sparse_step": 1, "vocab_size": 151936,
        "max_position_embeddings": 40960, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
        "tie_word_embeddings": false, "hidden_act": "silu", "attention_bias": false, "torch_dtype":
        "bfloat16"}
    "#),
    shape("qwen3-4b", "Qwen 3 4B", r#"
        {"model_type": "qwen3", "hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers":
        36, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "vocab_size":
        151936, "max_position_embeddings": 40960, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
        "tie_word_embeddings": true, "hidden_act": "silu", "attention_bias": false, "torch_dtype":
        "bfloat16"}
    "#),
    shape("qwen3-14b", "Qwen 3 14B", r#"
        {"model_type": "qwen3", "hidden_size": 5120, "intermediate_size": 17408,
        "num_hidden_layers": 40, "num_attention_heads": 40, "num_key_value_heads": 8, "head_dim":
        128, "vocab_size": 151936, "max_position_embeddings": 40960, "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0, "tie_word_embeddings": false, "hidden_act": "silu",
        "attention_bias": false, "torch_dtype": "bfloat16"}
    "#),
    shape("qwen3-32b", "Qwen 3 32B", r#"
        {"model_type": "qwen3", "hidden_size": 5120, "intermediate_size": 25600,
        "num_hidden_layers": 64, "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim":
        128, "vocab_size": 151936, "max_position_embeddings": 40960, "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0, "tie_word_embeddings": false, "hidden_act": "silu",
        "attention_bias": false, "torch_dtype": "bfloat16"}
    "#),
    shape("gemma3-270m", "Gemma 3 270M", r#"
        {"model_type": "gemma3_text", "hidden_size": 640, "intermediate_size": 2048,
        "num_hidden_layers": 18, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim":
        256, "vocab_size": 262144, "max_position_embeddings": 32768, "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0, "sliding_window": 512,
        "sliding_window_pattern": 6, "query_pre_attn_scalar": 256, "hidden_activation":
        "gelu_pytorch_tanh", "tie_word_embeddings": true, "torch_dtype": "bfloat16"}
    "#),
    shape("gemma3-1b", "Gemma 3 1B", r#"
        {"model_type": "gemma3_text", "hidden_size": 1152, "intermediate_size": 6912,
        "num_hidden_layers": 26, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim":
        256, "vocab_size": 262144, "max_position_embeddings": 32768, "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0, "sliding_window": 512,
        "sliding_window_pattern": 6, "query_pre_attn_scalar": 256, "hidden_activation":
        "gelu_pytorch_tanh", "tie_word_embeddings": true, "torch_dtype": "bfloat16"}
    "#),
    shape("gemma3-4b", "Gemma 3 4B", r#"
        {"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240,
        "num_hidden_layers": 34, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim":
        256, "vocab_size": 262144, "max_position_embeddings": 131072, "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0, "sliding_window": 1024,
        "sliding_window_pattern": 6, "query_pre_attn_scalar": 256, "hidden_activation":
        "gelu_pytorch_tanh", "tie_word_embeddings": true, "torch_dtype": "bfloat16"}
    "#),
    shape("gemma3-12b", "Gemma 3 12B", r#"
        {"model_type": "gemma3_text", "hidden_size": 3840, "intermediate_size": 15360,
        "num_hidden_layers": 48, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim":
        256, "vocab_size": 262144, "max_position_embeddings": 131072, "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0, "sliding_window": 1024,
        "sliding_window_pattern": 6, "query_pre_attn_scalar": 256, "hidden_activation":
        "gelu_pytorch_tanh", "tie_word_embeddings": true, "torch_dtype": "bfloat16"}
    "#),
    shape("gemma3-27b", "Gemma 3 27B", r#"
        {"model_type": "gemma3_text", "hidden_size": 5376, "intermediate_size": 21504,
        "num_hidden_layers": 62, "num_attention_heads": 32, "num_key_value_heads": 16, "head_dim":
        128, "vocab_size": 262144, "max_position_embeddings": 131072, "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0, "sliding_window": 1024,
        "sliding_window_pattern": 6, "query_pre_attn_scalar": 168, "hidden_activation":
        "gelu_pytorch_tanh", "tie_word_embeddings": true, "torch_dtype": "bfloat16"}
    "#),
    shape("mamba-130m", "Mamba 130M", r#"
        {"model_type": "mamba", "hidden_size": 768, "intermediate_size": 1536, "num_hidden_layers":
        24, "state_size": 16, "conv_kernel": 4, "time_step_rank": 48, "vocab_size": 50280,
        "layer_norm_epsilon": 1e-05, "use_bias": false, "use_conv_bias": true,
        "tie_word_embeddings": true, "hidden_act": "silu", "torch_dtype": "bfloat16"}
    "#),
    shape("mamba-1.4b", "Mamba 1.4B", r#"
        {"model_type": "mamba", "hidden_size": 2048, "intermediate_size": 4096, "num_hidden_layers":
        48, "state_size": 16, "conv_kernel": 4, "time_step_rank": 128, "vocab_size": 50280,
        "layer_norm_epsilon": 1e-05, "use_bias": false, "use_conv_bias": true,
        "tie_word_embeddings": true, "hidden_act": "silu", "torch_dtype": "bfloat16"}
    "#),
    shape("mamba-2.8b", "Mamba 2.8B", r#"
        {"model_type": "mamba", "hidden_size": 2560, "intermediate_size": 5120, "num_hidden_layers":
        64, "state_size": 16, "conv_kernel": 4, "time_step_rank": 160, "vocab_size": 50280,
        "layer_norm_epsilon": 1e-05, "use_bias": false, "use_conv_bias": true,
        "tie_word_embeddings": true, "hidden_act": "silu", "torch_dtype": "bfloat16"}
    "#),
    shape("mamba-7b", "Falcon Mamba 7B", r#"
        {"model_type": "falcon_mamba", "hidden_size": 4096, "intermediate_size": 8192,
        "num_hidden_layers": 64, "state_size": 16, "conv_kernel": 4, "time_step_rank": 256,
        "vocab_size": 65024, "layer_norm_epsilon": 1e-05, "use_bias": false, "use_conv_bias": true,
        "tie_word_embeddings": false, "hidden_act": "silu", "mixer_rms_eps": 1e-06, "torch_dtype":
        "bfloat16"}
    "#),
    shape("retnet-1.3b", "RetNet 1.3B in flash-linear-attention's form", r#"
        {"model_type": "retnet", "hidden_size": 2048, "num_hidden_layers": 24, "num_heads": 8,
        "num_kv_heads": null, "expand_k": 1, "expand_v": 2, "hidden_ratio": 2, "intermediate_size":
        2816, "vocab_size": 32000, "max_position_embeddings": 2048, "norm_eps": 1e-06, "hidden_act":
        "swish", "use_output_gate": true, "use_short_conv": false, "attn_mode": "chunk", "attn":
        null, "elementwise_affine": true, "feature_map": null, "tie_word_embeddings": false,
        "torch_dtype": "bfloat16"}
    "#),
    shape("retnet-2.7b", "RetNet 2.7B in flash-linear-attention's form", r#"
        {"model_type": "retnet", "hidden_size": 2560, "num_hidden_layers": 32, "num_heads": 10,
        "num_kv_heads": null, "expand_k": 1, "expand_v": 2, "hidden_ratio": 2, "intermediate_size":
        3584, "vocab_size": 32000, "max_position_embeddings": 2048, "norm_eps": 1e-06, "hidden_act":
        "swish", "use_output_gate": true, "use_short_conv": false, "attn_mode": "chunk", "attn":
        null, "elementwise_affine": true, "feature_map": null, "tie_word_embeddings": false,
        "torch_dtype": "bfloat16"}
    "#),
    shape("retnet-6.7b", "RetNet 6.7B in flash-linear-attention's form", r#"
        {"model_type": "retnet", "hidden_size": 4096, "num_hidden_layers": 32, "num_heads": 16,
        "num_kv_heads": null, "expand_k": 1, "expand_v": 2, "hidden_ratio": 2, "intermediate_size":
        5632, "vocab_size": 32000, "max_position_embeddings": 2048, "norm_eps": 1e-06, "hidden_act":
        "swish", "use_output_gate": true, "use_short_conv": false, "attn_mode": "chunk", "attn":
        null, "elementwise_affine": true, "feature_map": null, "tie_word_embeddings": false,
        "torch_dtype": "bfloat16"}
    "#),
    shape("rwkv4-169m", "RWKV-4 169M", r#"
        {"model_type": "rwkv", "hidden_size": 768, "attention_hidden_size": 768,
        "intermediate_size": 3072, "num_hidden_layers": 12, "vocab_size": 50277, "context_length":
        1024, "layer_norm_epsilon": 1e-05, "rescale_every": 6, "tie_word_embeddings": false,
        "torch_dtype": "bfloat16"}
    "#),
    shape("rwkv4-1.5b", "RWKV-4 1.5B", r#"
        {"model_type": "rwkv", "hidden_size": 2048, "attention_hidden_size": 2048,
        "intermediate_size": 8192, "num_hidden_layers": 24, "vocab_size": 50277, "context_length":
        1024, "layer_norm_epsilon": 1e-05, "rescale_every": 6, "tie_word_embeddings": false,
        "torch_dtype": "bfloat16"}
    "#),
    shape("lfm2-350m", "LFM2 350M", r#"
        {"model_type": "lfm2", "hidden_size": 1024, "block_auto_adjust_ff_dim": true,
        "intermediate_size": 6656, "block_ffn_dim_multiplier": 1.0, "block_multiple_of": 256,
        "norm_eps": 1e-05, "conv_L_cache": 3, "conv_bias": false, "full_attn_idxs": [2, 5, 8, 10,
        12, 14], "num_hidden_layers": 16, "num_attention_heads": 16, "num_key_value_heads": 8,
        "vocab_size": 65536, "max_position_embeddings": 128000, "rope_theta": 1000000.0,
        "tie_word_embeddings": true, "torch_dtype": "bfloat16"}
    "#),
    shape("bert-tiny", "BERT tiny", r#"
        {"model_type": "bert", "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 512, "vocab_size": 30522, "max_position_embeddings": 512,
        "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu", "pad_token_id": 0,
        "torch_dtype": "float32"}
    "#),
    shape("bert-base", "BERT base", r#"
        {"model_type": "bert", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads":
        12, "intermediate_size": 3072, "vocab_size": 30522, "max_position_embeddings": 512,
        "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu", "pad_token_id": 0,
        "torch_dtype": "float32"}
    "#),
    shape("bert-large", "BERT large", r#"
        {"model_type": "bert", "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads":
        16, "intermediate_size": 4096, "vocab_size": 30522, "max_position_embeddings": 512,
        "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu", "pad_token_id": 0,
        "torch_dtype": "float32"}
    "#),
    shape("roberta-base", "RoBERTa base", r#"
        {"model_type": "roberta", "hidden_size": 768, "num_hidden_layers": 12,
        "num_attention_heads": 12, "intermediate_size": 3072, "vocab_size": 50265,
        "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-05, "hidden_act":
        "gelu", "pad_token_id": 1, "torch_dtype": "float32"}
    "#),
    shape("xlm-r-base", "XLM-R base", r#"
        {"model_type": "xlm-roberta", "hidden_size": 768, "num_hidden_layers": 12,
        "num_attention_heads": 12, "intermediate_size": 3072, "vocab_size": 250002,
        "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-05, "hidden_act":
        "gelu", "pad_token_id": 1, "torch_dtype": "float32"}
    "#),
    shape("xlm-r-large", "XLM-R large", r#"
        {"model_type": "xlm-roberta", "hidden_size": 1024, "num_hidden_layers": 24,
        "num_attention_heads": 16, "intermediate_size": 4096, "vocab_size": 250002,
        "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-05, "hidden_act":
        "gelu", "pad_token_id": 1, "torch_dtype": "float32"}
    "#),
    shape("longformer-base", "Longformer base", r#"
        {"model_type": "longformer", "hidden_size": 768, "num_hidden_layers": 12,
        "num_attention_heads": 12, "intermediate_size": 3072, "vocab_size": 50265,
        "max_position_embeddings": 4098, "type_vocab_size": 1, "layer_norm_eps": 1e-05,
        "hidden_act": "gelu", "pad_token_id": 1, "torch_dtype": "float32", "attention_window": [512,
        512, 512, 512, 512, 512, 512, 512, 512, 512, 512, 512], "sep_token_id": 2}
    "#),
    shape("longformer-large", "Longformer large", r#"
        {"model_type": "longformer", "hidden_size": 1024, "num_hidden_layers": 24,
        "num_attention_heads": 16, "intermediate_size": 4096, "vocab_size": 50265,
        "max_position_embeddings": 4098, "type_vocab_size": 1, "layer_norm_eps": 1e-05,
        "hidden_act": "gelu", "pad_token_id": 1, "torch_dtype": "float32", "attention_window": [512,
        512, 512, 512, 512, 512, 512, 512, 512, 512, 512, 512, 512, 512, 512, 512, 512, 512, 512,
        512, 512, 512, 512, 512], "sep_token_id": 2}
    "#),
    shape("big-bird-base", "BigBird base", r#"
        {"model_type": "big_bird", "hidden_size": 768, "num_hidden_layers": 12,
        "num_attention_heads": 12, "intermediate_size": 3072, "vocab_size": 50358,
        "max_position_embeddings": 4096, "type_vocab_size": 2, "layer_norm_eps": 1e-05,
        "hidden_act": "gelu_new", "pad_token_id": 0, "torch_dtype": "float32", "sep_token_id": 66,
        "attention_type": "block_sparse", "block_size": 64, "num_random_blocks": 3, "use_bias":
        true, "rescale_embeddings": false}
    "#),
    shape("modernbert-base", "ModernBERT base", r#"
        {"model_type": "modernbert", "hidden_size": 768, "intermediate_size": 1152,
        "num_hidden_layers": 22, "num_attention_heads": 12, "vocab_size": 50368,
        "max_position_embeddings": 8192, "local_attention": 128, "global_attn_every_n_layers": 3,
        "global_rope_theta": 160000.0, "local_rope_theta": 10000.0, "norm_eps": 1e-05, "norm_bias":
        false, "attention_bias": false, "mlp_bias": false, "classifier_bias": false, "decoder_bias":
        true, "hidden_activation": "gelu", "tie_word_embeddings": true, "torch_dtype": "float32"}
    "#),
    shape("modernbert-large", "ModernBERT large", r#"
        {"model_type": "modernbert", "hidden_size": 1024, "intermediate_size": 2624,
        "num_hidden_layers": 28, "num_attention_heads": 16, "vocab_size": 50368,
        "max_position_embeddings": 8192, "local_attention": 128, "global_attn_every_n_layers": 3,
        "global_rope_theta": 160000.0, "local_rope_theta": 10000.0, "norm_eps": 1e-05, "norm_bias":
        false, "attention_bias": false, "mlp_bias": false, "classifier_bias": false, "decoder_bias":
        true, "hidden_activation": "gelu", "tie_word_embeddings": true, "torch_dtype": "float32"}
    "#),
    shape("t5-small", "T5 small", r#"
        {"model_type": "t5", "d_model": 512, "d_ff": 2048, "d_kv": 64, "num_heads": 8, "num_layers":
        6, "num_decoder_layers": 6, "vocab_size": 32128, "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128, "layer_norm_epsilon": 1e-06, "feed_forward_proj":
        "relu", "is_encoder_decoder": true, "pad_token_id": 0, "decoder_start_token_id": 0,
        "tie_word_embeddings": true, "torch_dtype": "bfloat16"}
    "#),
    shape("t5-base", "T5 base", r#"
        {"model_type": "t5", "d_model": 768, "d_ff": 3072, "d_kv": 64, "num_heads": 12,
        "num_layers": 12, "num_decoder_layers": 12, "vocab_size": 32128,
        "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
        "layer_norm_epsilon": 1e-06, "feed_forward_proj": "relu", "is_encoder_decoder": true,
        "pad_token_id": 0, "decoder_start_token_id": 0, "tie_word_embeddings": true, "torch_dtype":
        "bfloat16"}
    "#),
    shape("t5-large", "T5 large", r#"
        {"model_type": "t5", "d_model": 1024, "d_ff": 4096, "d_kv": 64, "num_heads": 16,
        "num_layers": 24, "num_decoder_layers": 24, "vocab_size": 32128,
        "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
        "layer_norm_epsilon": 1e-06, "feed_forward_proj": "relu", "is_encoder_decoder": true,
        "pad_token_id": 0, "decoder_start_token_id": 0, "tie_word_embeddings": true, "torch_dtype":
        "bfloat16"}
    "#),
    shape("t5-3b", "T5 3b", r#"
        {"model_type": "t5", "d_model": 1024, "d_ff": 16384, "d_kv": 128, "num_heads": 32,
        "num_layers": 24, "num_decoder_layers": 24, "vocab_size": 32128,
        "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
        "layer_norm_epsilon": 1e-06, "feed_forward_proj": "relu", "is_encoder_decoder": true,
        "pad_token_id": 0, "decoder_start_token_id": 0, "tie_word_embeddings": true, "torch_dtype":
        "bfloat16"}
    "#),
    shape("flan-t5-small", "Flan-T5 small", r#"
        {"model_type": "t5", "d_model": 512, "d_ff": 1024, "d_kv": 64, "num_heads": 6, "num_layers":
        8, "num_decoder_layers": 8, "vocab_size": 32128, "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128, "layer_norm_epsilon": 1e-06, "feed_forward_proj":
        "gated-gelu", "is_encoder_decoder": true, "pad_token_id": 0, "decoder_start_token_id": 0,
        "tie_word_embeddings": false, "torch_dtype": "bfloat16"}
    "#),
    shape("flan-t5-base", "Flan-T5 base", r#"
        {"model_type": "t5", "d_model": 768, "d_ff": 2048, "d_kv": 64, "num_heads": 12,
        "num_layers": 12, "num_decoder_layers": 12, "vocab_size": 32128,
        "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
        "layer_norm_epsilon": 1e-06, "feed_forward_proj": "gated-gelu", "is_encoder_decoder": true,
        "pad_token_id": 0, "decoder_start_token_id": 0, "tie_word_embeddings": false, "torch_dtype":
        "bfloat16"}
    "#),
    shape("flan-t5-large", "Flan-T5 large", r#"
        {"model_type": "t5", "d_model": 1024, "d_ff": 2816, "d_kv": 64, "num_heads": 16,
        "num_layers": 24, "num_decoder_layers": 24, "vocab_size": 32128,
        "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
        "layer_norm_epsilon": 1e-06, "feed_forward_proj": "gated-gelu", "is_encoder_decoder": true,
        "pad_token_id": 0, "decoder_start_token_id": 0, "tie_word_embeddings": false, "torch_dtype":
        "bfloat16"}
    "#),
    shape("flan-t5-xl", "Flan-T5 xl", r#"
        {"model_type": "t5", "d_model": 2048, "d_ff": 5120, "d_kv": 64, "num_heads": 32,
        "num_layers": 24, "num_decoder_layers": 24, "vocab_size": 32128,
        "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
        "layer_norm_epsilon": 1e-06, "feed_forward_proj": "gated-gelu", "is_encoder_decoder": true,
        "pad_token_id": 0, "decoder_start_token_id": 0, "tie_word_embeddings": false, "torch_dtype":
        "bfloat16"}
    "#),
    shape("flan-t5-xxl", "Flan-T5 xxl", r#"
        {"model_type": "t5", "d_model": 4096, "d_ff": 10240, "d_kv": 64, "num_heads": 64,
        "num_layers": 24, "num_decoder_layers": 24, "vocab_size": 32128,
        "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
        "layer_norm_epsilon": 1e-06, "feed_forward_proj": "gated-gelu", "is_encoder_decoder": true,
        "pad_token_id": 0, "decoder_start_token_id": 0, "tie_word_embeddings": false, "torch_dtype":
        "bfloat16"}
    "#),
    shape("longt5-base", "LongT5 base with transient global attention", r#"
        {"model_type": "longt5", "d_model": 768, "d_ff": 2048, "d_kv": 64, "num_heads": 12,
        "num_layers": 12, "num_decoder_layers": 12, "vocab_size": 32128, "encoder_attention_type":
        "transient-global", "global_block_size": 16, "local_radius": 127,
        "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
        "layer_norm_epsilon": 1e-06, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": false,
        "torch_dtype": "float32"}
    "#),
    shape("longt5-large", "LongT5 large with transient global attention", r#"
        {"model_type": "longt5", "d_model": 1024, "d_ff": 2816, "d_kv": 64, "num_heads": 16,
        "num_layers": 24, "num_decoder_layers": 24, "vocab_size": 32128, "encoder_attention_type":
        "transient-global", "global_block_size": 16, "local_radius": 127,
        "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
        "layer_norm_epsilon": 1e-06, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": false,
        "torch_dtype": "float32"}
    "#),
    shape("led-base", "LED base", r#"
        {"model_type": "led", "d_model": 768, "encoder_layers": 6, "decoder_layers": 6,
        "encoder_ffn_dim": 3072, "decoder_ffn_dim": 3072, "encoder_attention_heads": 12,
        "decoder_attention_heads": 12, "vocab_size": 50265, "attention_window": [1024, 1024, 1024,
        1024, 1024, 1024], "max_encoder_position_embeddings": 16384,
        "max_decoder_position_embeddings": 1024, "activation_function": "gelu",
        "decoder_start_token_id": 2, "pad_token_id": 1, "is_encoder_decoder": true,
        "tie_word_embeddings": true, "torch_dtype": "float32"}
    "#),
    shape("led-large", "LED large", r#"
        {"model_type": "led", "d_model": 1024, "encoder_layers": 12, "decoder_layers": 12,
        "encoder_ffn_dim": 4096, "decoder_ffn_dim": 4096, "encoder_attention_heads": 16,
        "decoder_attention_heads": 16, "vocab_size": 50265, "attention_window": [1024, 1024, 1024,
        1024, 1024, 1024, 1024, 1024, 1024, 1024, 1024, 1024], "max_encoder_position_embeddings":
        16384, "max_decoder_position_embeddings": 1024, "activation_function": "gelu",
        "decoder_start_token_id": 2, "pad_token_id": 1, "is_encoder_decoder": true,
        "tie_word_embeddings": true, "torch_dtype": "float32"}
    "#),
];
