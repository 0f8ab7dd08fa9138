//! gpt-oss's experts as converters to GGUF write them.

use super::to_gguf::{Floats, Gguf};

/// Gates and what they let through, which stand by turns, go into tensors of their own.
pub fn turns_apart(gguf: &mut Gguf) {
    for (name, floats) in std::mem::take(&mut gguf.tensors) {
        if !name.contains(".ffn_gate_up_exps.") {
            gguf.tensors.insert(name, floats);
            continue;
        }
        let columns = match floats.shape[..] {
            [_, _, columns] => columns as usize,
            _ => 1,
        };
        let mut shape = floats.shape.clone();
        shape[1] /= 2;
        for (kind, turn) in [("ffn_gate_exps", 0), ("ffn_up_exps", 1)] {
            let rows = floats.values.chunks(columns).skip(turn).step_by(2);
            let values = rows.flatten().copied().collect();
            let shape = shape.clone();
            let name = name.replace("ffn_gate_up_exps", kind);
            gguf.tensors.insert(name, Floats { shape, values });
        }
    }
}
