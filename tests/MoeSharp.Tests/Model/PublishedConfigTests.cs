using MoeSharp.Model;

namespace MoeSharp.Tests.Model;

/// <summary>The config.json of released models, with all the keys that they carry, against the presets.</summary>
public sealed class PublishedConfigTests
{
    private const string DeepSeekTail = """
        "attention_dropout": 0.0, "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekConfig"}, "aux_loss_alpha": 0.001, "hidden_act": "silu", "initializer_range": 0.02,
        "pretraining_tp": 1, "seq_aux": true, "tie_word_embeddings": false, "torch_dtype": "bfloat16", "transformers_version": "4.36.0", "use_cache": true
        """;

    public static TheoryData<string, string> Files => new()
    {
        {
            "deepseek-moe-16b", $$"""
            {"architectures": ["DeepseekForCausalLM"], "attention_bias": false, "bos_token_id": 100000, "eos_token_id": 100001, "first_k_dense_replace": 1, "hidden_size": 2048,
            "intermediate_size": 10944, "max_position_embeddings": 4096, "model_type": "deepseek", "moe_intermediate_size": 1408, "moe_layer_freq": 1, "n_routed_experts": 64,
            "n_shared_experts": 2, "norm_topk_prob": false, "num_attention_heads": 16, "num_experts_per_tok": 6, "num_hidden_layers": 28, "num_key_value_heads": 16,
            "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 10000, "scoring_func": "softmax", "vocab_size": 102400, {{DeepSeekTail}}}
            """
        },
        {
            "deepseek-v2-lite", $$"""
            {"architectures": ["DeepseekV2ForCausalLM"], "attention_bias": false, "bos_token_id": 100000, "eos_token_id": 100001, "ep_size": 1, "first_k_dense_replace": 1, "hidden_size": 2048,
            "intermediate_size": 10944, "kv_lora_rank": 512, "max_position_embeddings": 163840, "model_type": "deepseek_v2", "moe_intermediate_size": 1408, "moe_layer_freq": 1, "n_group": 1,
            "n_routed_experts": 64, "n_shared_experts": 2, "norm_topk_prob": false, "num_attention_heads": 16, "num_experts_per_tok": 6, "num_hidden_layers": 27, "num_key_value_heads": 16,
            "q_lora_rank": null, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rms_norm_eps": 1e-06, "rope_theta": 10000, "routed_scaling_factor": 1.0, "scoring_func": "softmax",
            "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 0.707, "mscale_all_dim": 0.707, "original_max_position_embeddings": 4096, "type": "yarn"},
            "topk_group": 1, "topk_method": "greedy", "v_head_dim": 128, "vocab_size": 102400, {{DeepSeekTail}}}
            """
        },
        {
            "deepseek-v3", $$"""
            {"architectures": ["DeepseekV3ForCausalLM"], "attention_bias": false, "bos_token_id": 0, "eos_token_id": 1, "ep_size": 1, "first_k_dense_replace": 3, "hidden_size": 7168,
            "intermediate_size": 18432, "kv_lora_rank": 512, "max_position_embeddings": 163840, "model_type": "deepseek_v3", "moe_intermediate_size": 2048, "moe_layer_freq": 1, "n_group": 8,
            "n_routed_experts": 256, "n_shared_experts": 1, "norm_topk_prob": true, "num_attention_heads": 128, "num_experts_per_tok": 8, "num_hidden_layers": 61, "num_key_value_heads": 128,
            "num_nextn_predict_layers": 1, "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rms_norm_eps": 1e-06, "rope_theta": 10000, "routed_scaling_factor": 2.5,
            "quantization_config": {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [128, 128]},
            "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 1.0, "mscale_all_dim": 1.0, "original_max_position_embeddings": 4096, "type": "yarn"},
            "scoring_func": "sigmoid", "topk_group": 4, "topk_method": "noaux_tc", "v_head_dim": 128, "vocab_size": 129280, {{DeepSeekTail}}}
            """
        },
        {
            "mixtral-8x7b", """
            {"architectures": ["MixtralForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 14336,
            "max_position_embeddings": 32768, "model_type": "mixtral", "num_attention_heads": 32, "num_experts_per_tok": 2, "num_hidden_layers": 32, "num_key_value_heads": 8,
            "num_local_experts": 8, "output_router_logits": false, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "router_aux_loss_coef": 0.02, "sliding_window": null,
            "tie_word_embeddings": false, "torch_dtype": "bfloat16", "transformers_version": "4.36.0.dev0", "use_cache": true, "vocab_size": 32000}
            """
        },
        {
            "qwen1.5-moe-a2.7b", """
            {"architectures": ["Qwen2MoeForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643, "eos_token_id": 151643, "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02,
            "intermediate_size": 5632, "max_position_embeddings": 8192, "max_window_layers": 21, "model_type": "qwen2_moe", "num_attention_heads": 16, "num_hidden_layers": 24,
            "num_key_value_heads": 16, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_cache": true,
            "use_sliding_window": false, "vocab_size": 151936, "decoder_sparse_step": 1, "moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632, "num_experts_per_tok": 4,
            "num_experts": 60, "norm_topk_prob": false, "output_router_logits": false, "router_aux_loss_coef": 0.001}
            """
        },
        {
            "qwen3-30b-a3b", """
            {"architectures": ["Qwen3MoeForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 151643, "decoder_sparse_step": 1, "eos_token_id": 151645, "head_dim": 128,
            "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 6144, "max_position_embeddings": 40960, "max_window_layers": 48, "mlp_only_layers": [],
            "model_type": "qwen3_moe", "moe_intermediate_size": 768, "norm_topk_prob": true, "num_attention_heads": 32, "num_experts": 128, "num_experts_per_tok": 8, "num_hidden_layers": 48,
            "num_key_value_heads": 4, "output_router_logits": false, "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 1000000.0, "router_aux_loss_coef": 0.001, "sliding_window": null,
            "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_cache": true, "use_sliding_window": false, "vocab_size": 151936}
            """
        },
        {
            "olmoe-1b-7b", """
            {"architectures": ["OlmoeForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "clip_qkv": null, "eos_token_id": 50279, "hidden_act": "silu", "hidden_size": 2048,
            "initializer_range": 0.02, "intermediate_size": 1024, "max_position_embeddings": 4096, "model_type": "olmoe", "norm_topk_prob": false, "num_attention_heads": 16, "num_experts": 64,
            "num_experts_per_tok": 8, "num_hidden_layers": 16, "num_key_value_heads": 16, "output_router_logits": false, "pad_token_id": 1, "rms_norm_eps": 1e-05, "rope_scaling": null,
            "rope_theta": 10000.0, "router_aux_loss_coef": 0.01, "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_cache": true, "vocab_size": 50304}
            """
        },
        {
            "dbrx", """
            {"architectures": ["DbrxForCausalLM"], "attn_config": {"clip_qkv": 8, "kv_n_heads": 8, "model_type": "", "rope_theta": 500000}, "auto_map": {"AutoConfig": "configuration_dbrx.DbrxConfig"},
            "d_model": 6144, "emb_pdrop": 0.0, "ffn_config": {"ffn_hidden_size": 10752, "model_type": "", "moe_jitter_eps": 0, "moe_loss_weight": 0.05, "moe_num_experts": 16, "moe_top_k": 4},
            "initializer_range": 0.02, "max_seq_len": 32768, "model_type": "dbrx", "n_heads": 48, "n_layers": 40, "output_router_logits": false, "resid_pdrop": 0.0,
            "router_aux_loss_coef": 0.05, "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_cache": true, "vocab_size": 100352}
            """
        },
        {
            "arctic", """
            {"architectures": ["ArcticForCausalLM"], "attention_dropout": 0, "auto_map": {"AutoConfig": "configuration_arctic.ArcticConfig"}, "bos_token_id": 31998, "eos_token_id": 31999,
            "enable_expert_tensor_parallelism": false, "hidden_act": "silu", "hidden_size": 7168, "initializer_range": 0.02, "intermediate_size": 4864, "max_position_embeddings": 4096,
            "model_type": "arctic", "moe_eval_capacity_factor": 1, "moe_layer_frequency": 1, "moe_min_capacity": 0, "moe_token_dropping": true, "moe_train_capacity_factor": 1,
            "num_attention_heads": 56, "num_experts_per_tok": 2, "num_hidden_layers": 35, "num_key_value_heads": 8, "num_local_experts": 128, "parallel_attn_mlp_res": true, "quantization": null,
            "rms_norm_eps": 1e-05, "rope_theta": 10000, "router_aux_loss_coef": 0.001, "sliding_window": null, "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_cache": true,
            "use_residual": true, "vocab_size": 32000}
            """
        },
        {
            "grok-1", """
            {"architectures": ["Grok1ModelForCausalLM"], "vocab_size": 131072, "hidden_size": 6144, "intermediate_size": 32768, "num_hidden_layers": 64, "num_attention_heads": 48,
            "num_key_value_heads": 8, "attn_output_multiplier": 0.08838834764831845, "embedding_multiplier_scale": 78.38367176906169, "output_multiplier_scale": 0.5773502691896257,
            "max_attn_value": 30.0, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "use_cache": true, "pad_token_id": 0, "eos_token_id": 2, "tie_word_embeddings": true,
            "num_experts_per_tok": 2, "num_experts": 8, "output_router_logits": false, "router_aux_loss_coef": 0.001, "torch_dtype": "bfloat16"}
            """
        },
        {
            "gpt-oss-20b", $$"""
            {"architectures": ["GptOssForCausalLM"], "attention_bias": true, "attention_dropout": 0.0, "eos_token_id": 200002, "experts_per_token": 4, "head_dim": 64, "hidden_act": "silu",
            "hidden_size": 2880, "initial_context_length": 4096, "initializer_range": 0.02, "intermediate_size": 2880, "layer_types": [{{string.Join(", ", Enumerable.Repeat("\"sliding_attention\", \"full_attention\"", 12))}}],
            "max_position_embeddings": 131072, "model_type": "gpt_oss", "num_attention_heads": 64, "num_experts_per_tok": 4, "num_hidden_layers": 24, "num_key_value_heads": 8,
            "num_local_experts": 32, "output_router_logits": false, "pad_token_id": 199999, "quantization_config": {"modules_to_not_convert": ["lm_head"], "quant_method": "mxfp4"}, "rms_norm_eps": 1e-05,
            "rope_scaling": {"beta_fast": 32.0, "beta_slow": 1.0, "factor": 32.0, "original_max_position_embeddings": 4096, "rope_type": "yarn", "truncate": false}, "rope_theta": 150000,
            "router_aux_loss_coef": 0.9, "sliding_window": 128, "swiglu_limit": 7.0, "tie_word_embeddings": false, "use_cache": true, "vocab_size": 201088}
            """
        },
        {
            "minimax-text-01", $$"""
            {"architectures": ["MiniMaxText01ForCausalLM"], "attention_dropout": 0.0, "attn_type_list": [{{string.Join(", ", Enumerable.Repeat("0, 0, 0, 0, 0, 0, 0, 1", 10))}}],
            "bos_token_id": null, "eos_token_id": null, "head_dim": 128, "hidden_act": "silu", "hidden_size": 6144, "initializer_range": 0.02, "intermediate_size": 9216,
            "layernorm_full_attention_alpha": 3.5565588200778455, "layernorm_full_attention_beta": 1.0, "layernorm_linear_attention_alpha": 3.5565588200778455, "layernorm_linear_attention_beta": 1.0,
            "layernorm_mlp_alpha": 3.5565588200778455, "layernorm_mlp_beta": 1.0, "max_position_embeddings": 10240000, "model_type": "minimax_text_01", "num_attention_heads": 64,
            "num_experts_per_tok": 2, "num_hidden_layers": 80, "num_key_value_heads": 8, "num_local_experts": 32, "output_router_logits": false, "postnorm": true, "rms_norm_eps": 1e-05,
            "rope_theta": 10000000, "rotary_dim": 64, "router_aux_loss_coef": 0.001, "router_jitter_noise": 0.0, "shared_intermediate_size": 0, "shared_moe_mode": "sigmoid", "sliding_window": null,
            "tie_word_embeddings": false, "use_cache": true, "vocab_size": 200064}
            """
        },
        {
            "llama-moe-3.5b", """
            {"add_weight_norm": false, "architectures": ["LlamaMoEForCausalLM"], "attention_bias": false, "bos_token_id": 1, "calculator_type": "UniversalCalculator", "eos_token_id": 2,
            "gate_add_noise": true, "gate_balance_loss_weight": 0.01, "gate_network": "mlp", "gate_noise_epsilon": 0.01, "gate_type": "TopKBalancedNoisyGate", "gate_use_balance": true,
            "gate_use_softmax": true, "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 11008, "max_position_embeddings": 4096, "model_type": "llama_moe",
            "multiply_gate_scores": true, "num_attention_heads": 32, "num_experts": 16, "num_hidden_layers": 32, "num_key_value_heads": 32, "num_selects": 4, "pad_token_id": 0, "pretraining_tp": 1,
            "rms_norm_eps": 1e-05, "rope_scaling": null, "rope_theta": 10000.0, "score_scale_factor": 4.0, "size_experts": null, "tie_word_embeddings": false, "use_cache": true, "vocab_size": 32000}
            """
        },
    };

    [Theory]
    [MemberData(nameof(Files))]
    public void A_released_file_is_its_preset(string preset, string json) =>
        Assert.Equal(ModelPresets.Get(preset) with { InitializerRange = 0.02f }, ModelConfigJson.Parse(json, preset));
}
