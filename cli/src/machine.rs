//! What a machine offers: measured once and kept in the user's cache directory, or described in a file.

use crate::CliError;
use crate::input::file_bytes;
use crate::output;
use crate::roofline::Roofline;
use rillm::internals::kernels::Kernels;
use rillm::internals::platform::default_threads;
use rillm::{Isa, ModelOptions};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Bytes of a description, which has some lines.
const DESCRIPTION: u64 = 1 << 16;

/// A machine, as far as speed and memory go.
#[derive(Clone, Debug)]
pub struct MachineFacts {
    /// The processor's name, if it is known.
    pub cpu: String,
    pub isa: Isa,
    pub threads: usize,
    /// Bytes of memory in all, if they are known.
    pub memory: Option<u64>,
    pub limits: Roofline,
    /// Where its figures come from, for people.
    pub from: String,
}

impl MachineFacts {
    /// This one, whose limits have yet to be measured.
    pub fn unmeasured(options: ModelOptions) -> Result<MachineFacts, CliError> {
        let kernels = Kernels::select(options.isa).map_err(CliError::Isa)?;
        Ok(MachineFacts {
            cpu: cpu(),
            isa: kernels.isa,
            threads: options.threads.unwrap_or_else(default_threads),
            memory: memory(),
            limits: Roofline {
                read: 0.0,
                int8: 0.0,
                f32: 0.0,
                bf16: None,
            },
            from: String::new(),
        })
    }

    /// This one, with figures measured earlier unless they are to be measured anew.
    pub fn here(options: ModelOptions, remeasure: bool) -> Result<MachineFacts, CliError> {
        let mut machine = MachineFacts::unmeasured(options)?;
        let kept = kept();
        let earlier = kept.as_deref().filter(|_| !remeasure);
        if let Some(limits) = earlier.and_then(|path| machine.read(path)) {
            machine.limits = limits;
            machine.from = "measured earlier (--remeasure does so anew)".to_string();
            return Ok(machine);
        }
        machine.limits = Roofline::measure(machine.isa, machine.threads)?;
        machine.from = "measured now".to_string();
        if let Some(path) = kept {
            // Without it, the next call measures again.
            let folder = path.parent().map(std::fs::create_dir_all);
            if matches!(folder, Some(Ok(()))) {
                let text = machine.json().to_string();
                let _ = output::replace(&path, |file| writeln!(file, "{text}"));
            }
        }
        Ok(machine)
    }

    /// One that a file describes, in the form that `--json` writes.
    pub fn described(path: &Path) -> Result<MachineFacts, CliError> {
        let refuse = |what: &str| CliError::File(path.to_path_buf(), what.to_string());
        let text = file_bytes(path, DESCRIPTION)?;
        let value: Value = serde_json::from_slice(&text)
            .map_err(|error| refuse(&format!("is not JSON: {error}")))?;
        let number = |key: &str| {
            let found = value.get(key).and_then(Value::as_f64);
            let found = found.filter(|number| number.is_finite() && *number > 0.0);
            found.ok_or_else(|| refuse(&format!("{key} must be a positive number")))
        };
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let isa = match text("isa") {
            Some(name) => name.parse().map_err(|_| refuse("isa is not known"))?,
            None => Isa::Portable,
        };
        Ok(MachineFacts {
            cpu: text("cpu").unwrap_or("a processor").to_string(),
            isa,
            threads: number("threads").unwrap_or(1.0) as usize,
            memory: Some(number("memory_bytes")? as u64),
            limits: Roofline {
                read: number("read_gb_per_second")? * 1e9,
                int8: number("int8_gop_per_second")? * 1e9,
                f32: number("f32_gflop_per_second")? * 1e9,
                bf16: number("bf16_gflop_per_second").ok().map(|rate| rate * 1e9),
            },
            from: "described".to_string(),
        })
    }

    /// What was measured with the same instructions on as many threads of the same processor.
    fn read(&self, path: &Path) -> Option<Roofline> {
        let earlier = MachineFacts::described(path).ok()?;
        let same =
            earlier.cpu == self.cpu && earlier.isa == self.isa && earlier.threads == self.threads;
        same.then_some(earlier.limits)
    }

    pub fn json(&self) -> Value {
        let mut value = self.limits.json();
        value["cpu"] = json!(self.cpu);
        value["isa"] = json!(self.isa.name());
        value["threads"] = json!(self.threads);
        value["memory_bytes"] = json!(self.memory);
        value
    }
}

/// The file with what was measured; `None` if the system does not say where that would be.
fn kept() -> Option<PathBuf> {
    let named = |name: &str| {
        let folder = std::env::var_os(name).map(PathBuf::from);
        folder.filter(|folder| folder.is_absolute())
    };
    let folder = named("XDG_CACHE_HOME")
        .or_else(|| named("LOCALAPPDATA").filter(|_| cfg!(windows)))
        .or_else(|| {
            let home = std::env::home_dir().filter(|home| home.is_absolute())?;
            Some(home.join(".cache"))
        })?;
    Some(folder.join("rillm").join("machine.json"))
}

/// The processor's name.
fn cpu() -> String {
    let facts = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = facts.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_string())
    });
    name.unwrap_or_else(|| std::env::consts::ARCH.to_string())
}

/// Bytes of memory in all, or that this process may have of it.
fn memory() -> Option<u64> {
    let facts = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = facts
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    let all = kib.checked_mul(1024)?;
    let most = std::fs::read_to_string("/sys/fs/cgroup/memory.max").unwrap_or_default();
    Some(most.trim().parse().map_or(all, |most: u64| most.min(all)))
}
