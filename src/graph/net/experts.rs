//! Routers and experts.

use super::Net;
use crate::graph::{ExpertGroups, Matrix, Routing, Value, Vector, op};

impl Net<'_, '_> {
    /// softmax(x) of each row.
    pub fn softmax(&self, x: Value) -> Value {
        self.push(x, self.width(x), op::Softmax { x })
    }

    /// x in the best groups of experts, −∞ in all others.
    pub fn limit_groups(&self, x: Value, groups: ExpertGroups) -> Value {
        assert!(
            self.width(x).is_multiple_of(groups.groups) && groups.used <= groups.groups,
            "architecture: broken groups of experts"
        );
        self.push(x, self.width(x), op::LimitGroups { x, groups })
    }

    /// Chooses each row's experts by `choice` and weighs them by their scores, and by what each
    /// expert weighs by itself.
    pub fn route(
        &self,
        [scores, choice]: [Value; 2],
        routing: Routing,
        expert_scales: Option<Vector>,
    ) -> Value {
        self.pair(scores, choice);
        let experts = self.width(scores);
        assert!(
            routing.top_k <= experts && expert_scales.is_none_or(|scales| scales.len == experts),
            "architecture: more experts chosen than there are"
        );
        let op = op::Route {
            scores,
            choice,
            routing,
            expert_scales,
        };
        self.push(scores, 2 * routing.top_k, op)
    }

    /// A route in which an expert takes but so many rows of a sequence.
    pub fn limit_capacity(&self, route: Value, capacity: op::ExpertCapacity, share: bool) -> Value {
        let op = op::LimitCapacity {
            route,
            capacity,
            share,
        };
        self.push(route, self.width(route), op)
    }

    /// x times the weight of each chosen expert, one after the other.
    pub fn expert_inputs(&self, x: Value, route: Value) -> Value {
        let slots = self.width(route) / 2;
        self.push(x, slots * self.width(x), op::ExpertInputs { x, route })
    }

    /// x through each chosen expert's matrix, plus its bias: `[experts, rows]`, if there is one.
    pub fn expert_matmul(
        &self,
        x: Value,
        route: Value,
        (experts, bias): (Matrix, Option<Vector>),
    ) -> Value {
        let slots = self.width(route) / 2;
        assert!(
            bias.is_none_or(|bias| bias.len == experts.stack * experts.rows),
            "architecture: biases of other experts"
        );
        let op = op::ExpertMatMul {
            x,
            route,
            experts,
            bias,
        };
        self.push(x, slots * experts.rows, op)
    }

    /// The chosen experts' outputs, weighted and summed.
    pub fn expert_sum(&self, x: Value, route: Value) -> Value {
        let slots = self.width(route) / 2;
        let route = Some(route);
        self.push(x, self.width(x) / slots, op::ExpertSum { x, route })
    }

    /// The same where their inputs were weighted.
    pub fn plain_expert_sum(&self, x: Value, slots: usize) -> Value {
        self.push(x, self.width(x) / slots, op::ExpertSum { x, route: None })
    }
}
