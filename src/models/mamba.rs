//! Mamba (Gu & Dao 2023): selective state spaces, memory constant in length.

use super::{Architecture, Converted, Family};
use crate::graph::blocks::{Tied, head};
use crate::graph::{BuildError, Builder, Index, Name, Pointwise, Role, View};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Mamba",
    gguf: &["mamba"],
    hugging_face: &["mamba"],
    family: Family::Recurrent,
    keys: &[&[
        ("embedding_length", "hidden_size"),
        ("block_count", "num_hidden_layers"),
        ("ssm.inner_size", "intermediate_size"),
        ("ssm.state_size", "state_size"),
        ("ssm.conv_kernel", "conv_kernel"),
        ("ssm.time_step_rank", "time_step_rank"),
        ("attention.layer_norm_rms_epsilon", "layer_norm_epsilon"),
        ("hidden_act", "hidden_act"),
    ]],
    names: &[&[
        Name::plain("backbone.embeddings.weight", "token_embd.weight"),
        Name::plain("backbone.embedding.weight", "token_embd.weight"),
        Name::plain("backbone.norm_f.weight", "output_norm.weight"),
        Name::plain("lm_head.weight", "output.weight"),
        Name::plain(
            "backbone.layers.{i}.norm.weight",
            "blk.{i}.attn_norm.weight",
        ),
        Name::plain(
            "backbone.layers.{i}.mixer.in_proj.weight",
            "blk.{i}.ssm_in.weight",
        ),
        Name::plain(
            "backbone.layers.{i}.mixer.in_proj.bias",
            "blk.{i}.ssm_in.bias",
        ),
        Name::plain(
            "backbone.layers.{i}.mixer.conv1d.weight",
            "blk.{i}.ssm_conv1d.weight",
        ),
        Name::plain(
            "backbone.layers.{i}.mixer.conv1d.bias",
            "blk.{i}.ssm_conv1d.bias",
        ),
        Name::plain(
            "backbone.layers.{i}.mixer.x_proj.weight",
            "blk.{i}.ssm_x.weight",
        ),
        Name::plain(
            "backbone.layers.{i}.mixer.dt_proj.weight",
            "blk.{i}.ssm_dt.weight",
        ),
        Name::plain(
            "backbone.layers.{i}.mixer.dt_proj.bias",
            "blk.{i}.ssm_dt.bias",
        ),
        Name::viewed(
            "backbone.layers.{i}.mixer.A_log",
            "blk.{i}.ssm_a",
            View::NegativeExp,
        ),
        Name::plain("backbone.layers.{i}.mixer.D", "blk.{i}.ssm_d"),
        Name::plain(
            "backbone.layers.{i}.mixer.out_proj.weight",
            "blk.{i}.ssm_out.weight",
        ),
        Name::plain(
            "backbone.layers.{i}.mixer.out_proj.bias",
            "blk.{i}.ssm_out.bias",
        ),
    ]],
    unused: &[],
    converted: Converted::AsStored,
    build,
};

/// x ← x + out(SSM(silu(conv(u))) ⊙ silu(z)) with u, z = in(RMS(x)).
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let hyper = model.hyper();
    let width = hyper.count("embedding_length")?;
    let inner = hyper.count("ssm.inner_size")?;
    let states = hyper.count("ssm.state_size")?;
    let taps = hyper.count("ssm.conv_kernel")?;
    let rank = hyper.count("ssm.time_step_rank")?;
    let eps = hyper.float("attention.layer_norm_rms_epsilon", 1e-5)?;
    if !matches!(
        hyper.text("hidden_act")?.unwrap_or("silu"),
        "silu" | "swish"
    ) {
        return Err(hyper.invalid("hidden_act", "silu"));
    }

    let net = model.graph(Role::Decode);
    let vocabulary = model.rows("token_embd.weight")?;
    let mut x = net.embed(
        model.matrix("token_embd.weight", vocabulary, width)?,
        Index::Token,
    );
    for i in 0..hyper.count("block_count")? {
        let layer = format!("blk.{i}");
        let h = net.rms_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let uz = net.linear(h, &format!("{layer}.ssm_in"), 2 * inner)?;
        let (u, z) = (net.slice(uz, 0, inner), net.slice(uz, inner, inner));
        let u = net.conv(u, &format!("{layer}.ssm_conv1d"), taps)?;
        let u = net.apply(u, Pointwise::Silu);

        // The selection: step size, input and output projections depend on u.
        let selected = net.linear(u, &format!("{layer}.ssm_x"), rank + 2 * states)?;
        let dt = net.slice(selected, 0, rank);
        let b = net.slice(selected, rank, states);
        let c = net.slice(selected, rank + states, states);
        let dt = net.apply(
            net.linear(dt, &format!("{layer}.ssm_dt"), inner)?,
            Pointwise::Softplus,
        );

        let a = model.vector(&format!("{layer}.ssm_a"), &[inner, states])?;
        let d = model.vector(&format!("{layer}.ssm_d"), &[inner])?;
        let y = net.scan([u, dt, b, c], a, d);
        let y = net.mul(y, net.apply(z, Pointwise::Silu));
        x = net.add(x, net.linear(y, &format!("{layer}.ssm_out"), width)?);
    }
    let x = net.rms_norm(net.selected(x), "output_norm", eps)?;
    net.emit(head(&net, x, Tied::ByDefault)?, "logits");
    net.finish();
    Ok(())
}
