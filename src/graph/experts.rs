//! Mixtures of experts: how a layer's router chooses and weighs them, and what they compute.

use super::blocks::gated_mlp;
use super::{
    BuildError, Builder, Config, ExpertGroups, ExpertWeight, GroupScore, Matrix, Net, Pointwise,
    Routing, Value, Vector,
};
use rillm_formats::manifest::{Container, MetadataValue};

/// What a router's logits become before anything is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouterScores {
    /// Nothing else.
    Logits,
    /// Their softmax.
    Softmax,
    /// The sigmoid of each.
    Sigmoid,
}

/// What the weights of experts are applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighed {
    /// What they compute.
    Outputs,
    /// What they are given.
    Inputs,
}

/// How the experts of a layer are chosen and weighed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Router {
    /// How many there are.
    pub experts: usize,
    /// How many of them a row chooses.
    pub used: usize,
    /// What they are chosen by, but for a bias that serves the choice alone.
    pub scores: RouterScores,
    /// What the scores of the chosen ones become.
    pub weight: ExpertWeight,
    /// What weights are multiplied by.
    pub scale: f32,
    /// Groups that are chosen first.
    pub groups: Option<ExpertGroups>,
    /// What weights are applied to.
    pub weighed: Weighed,
}

/// What a class's routers do where its configuration does not say it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gating {
    /// What experts are chosen by.
    pub scores: RouterScores,
    /// What scores become where weights are normalised.
    pub normalised: ExpertWeight,
    /// Whether they are.
    pub normalises: bool,
    /// What groups are chosen by, if there are any.
    pub group_score: GroupScore,
}

impl Gating {
    /// The best of softmax(logits), whose weights add up to one among the chosen (Jiang et al.
    /// 2024, equation 4): the sum over all cancels.
    pub const CHOSEN_SOFTMAX: Gating = Gating {
        scores: RouterScores::Logits,
        normalised: ExpertWeight::Softmax,
        normalises: true,
        group_score: GroupScore::Largest,
    };

    /// The same, whose weights add up to one among all.
    pub const SOFTMAX: Gating = Gating {
        normalises: false,
        ..Gating::CHOSEN_SOFTMAX
    };

    /// The best of σ(logits), with a bias for the choice, as shares of their sum (Liu et
    /// al. 2024, equations 12 to 16).
    pub const SIGMOID: Gating = Gating {
        scores: RouterScores::Sigmoid,
        normalised: ExpertWeight::Share {
            added: 1e-20,
            least: 0.0,
        },
        normalises: true,
        group_score: GroupScore::TopTwo,
    };
}

impl Router {
    /// Reads the experts' counts, and what the files say of how they are chosen.
    pub fn read(config: &Config<'_>, usual: &Gating) -> Result<Router, BuildError> {
        let used = config.count("expert_used_count")?;
        Router::read_of(config, used, usual)
    }

    /// The same where a class says how many experts a row chooses.
    pub fn read_of(config: &Config<'_>, used: usize, usual: &Gating) -> Result<Router, BuildError> {
        let experts = config.count("expert_count")?;
        if used > experts {
            let expected = format!("at most the {experts} experts there are");
            return Err(config.invalid("expert_used_count", &expected));
        }
        let gating = gating(config, usual)?;
        let weight = match config.flag("expert_weights_norm", gating.normalises)? {
            true => gating.normalised,
            false => ExpertWeight::Score,
        };
        // The softmax over all is what counts where its parts stay as they are.
        let scores = match (gating.scores, weight) {
            (RouterScores::Logits, ExpertWeight::Score) => RouterScores::Softmax,
            (scores, _) => scores,
        };
        // GGUF says zero for none.
        let scale = config.float("expert_weights_scale", 1.0)?;
        let none = config.container == Container::Gguf && scale == 0.0;
        Ok(Router {
            experts,
            used,
            scores,
            weight,
            scale: if none { 1.0 } else { scale },
            groups: groups(config, (experts, used), usual.group_score)?,
            weighed: Weighed::Outputs,
        })
    }

    /// The same where a model need not have experts.
    pub fn read_some(config: &Config<'_>, usual: &Gating) -> Result<Option<Router>, BuildError> {
        match config.feature("expert_count")? {
            Some(_) => Router::read(config, usual).map(Some),
            None => Ok(None),
        }
    }

    /// Each row's experts and their weights, by `ffn_gate_inp` and, for the choice alone,
    /// `exp_probs_b`.
    pub fn route(&self, net: &Net<'_, '_>, x: Value, layer: &str) -> Result<Value, BuildError> {
        let logits = net.linear(x, &format!("{layer}.ffn_gate_inp"), self.experts)?;
        let bias = format!("{layer}.exp_probs_b.bias");
        let bias = net.builder.optional_vector(&bias, &[self.experts])?;
        Ok(self.choose(net, logits, bias, None))
    }

    /// The same of logits, a bias for the choice, and weights that experts have of their own.
    pub fn choose(
        &self,
        net: &Net<'_, '_>,
        logits: Value,
        bias: Option<Vector>,
        expert_scales: Option<Vector>,
    ) -> Value {
        let scores = match self.scores {
            RouterScores::Logits => logits,
            RouterScores::Softmax => net.softmax(logits),
            RouterScores::Sigmoid => net.apply(logits, Pointwise::Sigmoid),
        };
        let choice = match bias {
            Some(bias) => net.add_vector(scores, bias),
            None => scores,
        };
        let choice = match self.groups {
            Some(groups) => net.limit_groups(choice, groups),
            None => choice,
        };
        let routing = Routing {
            top_k: self.used,
            weight: self.weight,
            scale: self.scale,
        };
        net.route([scores, choice], routing, expert_scales)
    }
}

/// GGUF says by number what experts are chosen by, configurations by name.
fn gating(config: &Config<'_>, usual: &Gating) -> Result<Gating, BuildError> {
    let key = "expert_gating_func";
    let said = match config.container {
        Container::Gguf => match config.feature(key)? {
            None => return Ok(*usual),
            Some(1) => Gating::SOFTMAX,
            Some(2) => Gating::SIGMOID,
            Some(3) => Gating::CHOSEN_SOFTMAX,
            Some(_) => {
                let known = "1 (softmax), 2 (sigmoid) or 3 (softmax of the chosen)";
                return Err(config.invalid(key, known));
            }
        },
        Container::HuggingFace => match config.text(key)? {
            None => return Ok(*usual),
            Some("softmax") => Gating::SOFTMAX,
            Some("sigmoid") => Gating::SIGMOID,
            Some(_) => return Err(config.invalid(key, "softmax or sigmoid")),
        },
    };
    // Normalised, the parts of a softmax over all are those of one over the chosen.
    let same = said.scores == usual.scores
        || said.scores == RouterScores::Softmax && usual.scores == RouterScores::Logits;
    Ok(match same {
        true => *usual,
        false if said.scores == RouterScores::Logits => said,
        false => Gating {
            normalises: usual.normalises,
            ..said
        },
    })
}

/// Groups, where not all of them are chosen anyway.
fn groups(
    config: &Config<'_>,
    (experts, used): (usize, usize),
    score: GroupScore,
) -> Result<Option<ExpertGroups>, BuildError> {
    let key = "expert_group_count";
    let Some(count) = config.feature(key)? else {
        return Ok(None);
    };
    let least = match score {
        GroupScore::Largest => 1,
        GroupScore::TopTwo => 2,
    };
    if !experts.is_multiple_of(count) || count > 1 && experts / count < least {
        let expected = format!("groups of at least {least}, alike, of {experts} experts");
        return Err(config.invalid(key, &expected));
    }
    let key = "expert_group_used_count";
    let chosen = config.optional_count(key)?.unwrap_or(count);
    if chosen > count || chosen * (experts / count) < used {
        let expected = format!("at most {count}, and enough for {used} experts");
        return Err(config.invalid(key, &expected));
    }
    Ok((chosen < count).then_some(ExpertGroups {
        groups: count,
        used: chosen,
        score,
    }))
}

/// The feed-forward layers of a decoder of which some are mixtures of experts.
#[derive(Clone, Debug)]
pub struct FeedForward {
    /// How experts are chosen, if there are any.
    pub router: Option<Router>,
    /// The function of all gates.
    pub function: Pointwise,
    /// Elements inside an expert.
    pub hidden: usize,
    /// What every row passes beside its experts.
    pub shared: SharedExpert,
    /// Which layers have experts.
    pub sparse: Vec<bool>,
    /// Elements inside the other layers.
    pub plain_hidden: Option<usize>,
}

/// What every row passes beside its experts, if anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedExpert {
    /// Nothing.
    None,
    /// A gated feed-forward layer of so many elements inside.
    Plain(usize),
    /// The same times σ of one number of each row.
    Gated(usize),
}

impl SharedExpert {
    /// So many experts of `hidden` elements, side by side.
    pub fn of(count: Option<usize>, hidden: usize) -> SharedExpert {
        match count {
            Some(count) => SharedExpert::Plain(count.saturating_mul(hidden)),
            None => SharedExpert::None,
        }
    }
}

impl FeedForward {
    /// The layer after h in layer `i`.
    pub fn wire(
        &self,
        net: &Net<'_, '_>,
        h: Value,
        layer: &str,
        i: usize,
    ) -> Result<Value, BuildError> {
        let sparse = has_experts(net.builder, layer, self.sparse[i]);
        let Some(router) = self.router.as_ref().filter(|_| sparse) else {
            let hidden = match self.plain_hidden {
                Some(hidden) => hidden,
                None => net.builder.config().count("feed_forward_length")?,
            };
            return gated_mlp(net, h, layer, hidden, self.function);
        };
        let routed = gated_experts(net, h, layer, (self.hidden, self.function), router)?;
        let shared = match self.shared {
            SharedExpert::None => return Ok(routed),
            SharedExpert::Plain(hidden) => shared_expert(net, h, layer, (hidden, self.function))?,
            SharedExpert::Gated(hidden) => {
                let shared = shared_expert(net, h, layer, (hidden, self.function))?;
                let open = net.linear(h, &format!("{layer}.ffn_gate_inp_shexp"), 1)?;
                net.scale_heads(shared, net.apply(open, Pointwise::Sigmoid))
            }
        };
        Ok(net.add(routed, shared))
    }
}

/// A mixture of gated feed-forward experts: down(f(gate x) ⊙ up x) of those that the router
/// chooses.
pub fn gated_experts(
    net: &Net<'_, '_>,
    x: Value,
    layer: &str,
    (hidden, function): (usize, Pointwise),
    router: &Router,
) -> Result<Value, BuildError> {
    let route = router.route(net, x, layer)?;
    let sizes = (router.experts, hidden, net.width(x));
    let matrices = ExpertMatrices::read(net.builder, layer, sizes)?;
    Ok(routed_experts(net, x, (router, route), &matrices, function))
}

/// The matrices of gated experts, in stacks, each with biases, if there are some.
#[derive(Clone, Copy, Debug)]
pub struct ExpertMatrices {
    /// What decides.
    pub gate: (Matrix, Option<Vector>),
    /// What is let through.
    pub up: (Matrix, Option<Vector>),
    /// What leads back.
    pub down: (Matrix, Option<Vector>),
}

impl ExpertMatrices {
    /// Those of a layer. Gates, and what they let through, are two stacks, or, for each expert,
    /// halves of one matrix.
    pub fn read(
        model: &Builder<'_>,
        layer: &str,
        (experts, hidden, width): (usize, usize, usize),
    ) -> Result<ExpertMatrices, BuildError> {
        let name = |part: &str| format!("{layer}.ffn_{part}_exps");
        let stack = |part: &str, rows, columns| {
            let name = name(part);
            let weight = model.experts(&format!("{name}.weight"), experts, rows, columns)?;
            let bias = model.optional_vector(&format!("{name}.bias"), &[experts, rows])?;
            Ok::<(Matrix, Option<Vector>), BuildError>((weight, bias))
        };
        let both = format!("{}.weight", name("gate_up"));
        let half = |offset| {
            let sizes = (hidden.saturating_mul(2), width);
            let weight = model.experts_part(&both, experts, sizes, (offset, hidden))?;
            Ok::<(Matrix, Option<Vector>), BuildError>((weight, None))
        };
        let (gate, up) = match model.has(&both) {
            true => (half(0)?, half(hidden)?),
            false => (stack("gate", hidden, width)?, stack("up", hidden, width)?),
        };
        let down = stack("down", width, hidden)?;
        Ok(ExpertMatrices { gate, up, down })
    }
}

/// down(f(gate x) ⊙ up x) of experts that have been chosen.
pub fn routed_experts(
    net: &Net<'_, '_>,
    x: Value,
    (router, route): (&Router, Value),
    matrices: &ExpertMatrices,
    function: Pointwise,
) -> Value {
    let x = match router.weighed {
        Weighed::Outputs => x,
        Weighed::Inputs => net.expert_inputs(x, route),
    };
    let gate = net.expert_matmul(x, route, matrices.gate);
    let up = net.expert_matmul(x, route, matrices.up);
    let inner = net.mul(net.apply(gate, function), up);
    let down = net.expert_matmul(inner, route, matrices.down);
    match router.weighed {
        Weighed::Outputs => net.expert_sum(down, route),
        Weighed::Inputs => net.plain_expert_sum(down, router.used),
    }
}

/// The feed-forward layer beside routed experts that every row passes, called `*_shexp`.
pub fn shared_expert(
    net: &Net<'_, '_>,
    x: Value,
    layer: &str,
    (hidden, function): (usize, Pointwise),
) -> Result<Value, BuildError> {
    let gate = net.linear(x, &format!("{layer}.ffn_gate_shexp"), hidden)?;
    let up = net.linear(x, &format!("{layer}.ffn_up_shexp"), hidden)?;
    let inner = net.mul(net.apply(gate, function), up);
    net.linear(inner, &format!("{layer}.ffn_down_shexp"), net.width(x))
}

/// Whether a layer has experts. Converters write few of the keys that say so: in GGUF its tensors tell,
/// and only where they do not, `said` does.
pub fn has_experts(model: &Builder<'_>, layer: &str, said: bool) -> bool {
    let has = |part: &str| model.has(&format!("{layer}.{part}.weight"));
    match (model.config().container, has("ffn_gate_inp"), has("ffn_up")) {
        (Container::Gguf, true, false) => true,
        (Container::Gguf, false, true) => false,
        _ => said,
    }
}

/// Which layers have experts, where every so many do but for those that are listed.
pub fn expert_layers(config: &Config<'_>, layers: usize) -> Result<Vec<bool>, BuildError> {
    let key = "expert_less_layers";
    let plain = match config.value(key) {
        Some(MetadataValue::Array(list)) => {
            let layers: Option<Vec<u64>> = (0..list.len()).map(|i| list.u64(i)).collect();
            layers.ok_or_else(|| config.invalid(key, "numbers of layers"))?
        }
        Some(_) => return Err(config.invalid(key, "a list of layers")),
        None => Vec::new(),
    };
    let every = config.optional_count("expert_every_n_layers")?.unwrap_or(1);
    let sparse = |i: usize| (i + 1).is_multiple_of(every) && !plain.contains(&(i as u64));
    Ok((0..layers).map(sparse).collect())
}
