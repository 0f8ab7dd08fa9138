//! Gives every value its bytes: values that are never alive together share them.

use super::{ALIGN, Capacity, PlanError, Span, Stage, Uses, stride};
use crate::graph::op::Reach;
use crate::graph::{Graph, Op, RowSpace, Value};
use std::ops::{Range, RangeInclusive};

/// Values that live in the same bytes one after the other, and when.
struct Tenant {
    values: Vec<usize>,
    alive: RangeInclusive<usize>,
    len: usize,
}

/// A span for each root value.
pub fn assign(
    graph: &Graph,
    stages: &[Stage],
    uses: &Uses,
    capacity: Capacity,
) -> Result<Vec<Option<Span>>, PlanError> {
    let bands = bands(graph, stages);
    let mut tenants = tenants(graph, stages, uses, &bands, capacity)?;
    // The largest first: what is small fits into the gaps that they leave.
    tenants.sort_by_key(|tenant| (std::cmp::Reverse(tenant.len), *tenant.alive.start()));
    let mut placed: Vec<(Span, RangeInclusive<usize>)> = Vec::new();
    let mut spans = vec![None; graph.values.len()];
    for tenant in &tenants {
        let span = Span {
            start: best_fit(tenant, &placed)?,
            len: tenant.len,
        };
        let at = placed.partition_point(|(other, _)| other.start <= span.start);
        placed.insert(at, (span, tenant.alive.clone()));
        for &value in &tenant.values {
            spans[value] = Some(span);
        }
    }
    Ok(spans)
}

fn tenants(
    graph: &Graph,
    stages: &[Stage],
    uses: &Uses,
    bands: &[Range<usize>],
    capacity: Capacity,
) -> Result<Vec<Tenant>, PlanError> {
    let mut tenants: Vec<Tenant> = Vec::new();
    let mut tenant_of = vec![usize::MAX; graph.values.len()];
    for node in &graph.nodes {
        let Some(out) = node.out.filter(|&out| graph.root(out).0 == out) else {
            continue;
        };
        let index = out.0 as usize;
        let alive = alive(uses, stages, bands, out);
        let len = length(graph, uses, stages, capacity, out, node.op.name())?;
        let heir = node.op.inputs().into_iter().find(|&input| {
            can_inherit(graph, uses, &node.op, input, out)
                && tenants[tenant_of[input.0 as usize]].len == len
        });
        match heir {
            Some(input) => {
                let tenant = &mut tenants[tenant_of[input.0 as usize]];
                tenant.values.push(index);
                let end = (*tenant.alive.end()).max(*alive.end());
                tenant.alive = *tenant.alive.start()..=end;
                tenant_of[index] = tenant_of[input.0 as usize];
            }
            None => {
                tenant_of[index] = tenants.len();
                tenants.push(Tenant {
                    values: vec![index],
                    alive,
                    len,
                });
            }
        }
    }
    Ok(tenants)
}

/// For each node, the neighbours that rows may pass through one by one: at any moment some row
/// is at each of them.
fn bands(graph: &Graph, stages: &[Stage]) -> Vec<Range<usize>> {
    let joins = |index: usize| match graph.nodes[index].op.reach() {
        Reach::View | Reach::OwnRow => true,
        Reach::Columns | Reach::AllRows | Reach::PickedRow => false,
    };
    let mut bands = Vec::with_capacity(graph.nodes.len());
    for stage in stages {
        let mut start = stage.nodes.start;
        while start < stage.nodes.end {
            let band = (start..stage.nodes.end).take_while(|&index| joins(index));
            let end = start + band.count().max(1);
            bands.extend((start..end).map(|_| start..end));
            start = end;
        }
    }
    bands
}

/// Nodes during which a root value must keep its bytes. A value that crosses stages is used
/// tile by tile, so it lives from its stage's first node to the last node of the last stage.
fn alive(
    uses: &Uses,
    stages: &[Stage],
    bands: &[Range<usize>],
    value: Value,
) -> RangeInclusive<usize> {
    let index = value.0 as usize;
    let (made_stage, made) = uses.made[index].unwrap_or((0, 0));
    let (last_stage, last) = uses.last[index].unwrap_or((made_stage, made));
    if made_stage == last_stage {
        bands[made].start..=bands[last].end - 1
    } else {
        stages[made_stage].nodes.start..=stages[last_stage].nodes.end - 1
    }
}

fn length(
    graph: &Graph,
    uses: &Uses,
    stages: &[Stage],
    capacity: Capacity,
    value: Value,
    step: &'static str,
) -> Result<usize, PlanError> {
    let info = graph.info(value);
    let stage = uses.made[value.0 as usize].map_or(0, |(stage, _)| stage);
    let rows = match (uses.crosses(value), info.space) {
        (false, _) => stages[stage].tile,
        (true, RowSpace::Sequence) => capacity.sequences,
        (true, _) => capacity.rows,
    };
    stride(info)
        .and_then(|len| len.checked_mul(rows))
        .and_then(|len| len.checked_next_multiple_of(ALIGN))
        .filter(|&len| len <= isize::MAX as usize)
        .ok_or(PlanError::TooLarge { step, rows })
}

/// Whether `out` may take over the bytes of `input`, which nobody needs any more.
fn can_inherit(graph: &Graph, uses: &Uses, op: &Op, input: Value, out: Value) -> bool {
    let index = input.0 as usize;
    let made_by = uses.made[out.0 as usize].map(|(_, node)| node);
    op.may_overwrite(input)
        && graph.root(input).0 == input
        && uses.last[index].map(|(_, node)| node) == made_by
        && uses.crosses(input) == uses.crosses(out)
        // Another tile's reader may still need every row of it.
        && !uses.across[index]
}

/// The start of the smallest gap that holds `tenant` among those alive at the same time.
fn best_fit(tenant: &Tenant, placed: &[(Span, RangeInclusive<usize>)]) -> Result<usize, PlanError> {
    let together = |other: &RangeInclusive<usize>| {
        tenant.alive.start() <= other.end() && other.start() <= tenant.alive.end()
    };
    let mut best: Option<(usize, usize)> = None; // (gap, start)
    let mut free = 0usize;
    for (span, _) in placed.iter().filter(|(_, alive)| together(alive)) {
        let gap = span
            .start
            .checked_sub(free)
            .filter(|&gap| gap >= tenant.len);
        if let Some(gap) = gap.filter(|&gap| best.is_none_or(|(smallest, _)| gap < smallest)) {
            best = Some((gap, free));
        }
        free = free.max(span.start + span.len);
    }
    let start = best.map_or(free, |(_, start)| start);
    match start
        .checked_add(tenant.len)
        .filter(|&end| end <= isize::MAX as usize)
    {
        Some(_) => Ok(start),
        None => Err(PlanError::TooLarge {
            step: "arena",
            rows: 0,
        }),
    }
}
