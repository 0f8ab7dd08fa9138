//! What a machine offers: measured once and kept in the user's cache directory, or described in a file.

use crate::CliError;
use crate::input::file_bytes;
use crate::interrupt::Unfinished;
use crate::output;
use crate::roofline::Roofline;
use rillm::internals::kernels::Kernels;
use rillm::internals::platform::default_threads;
use rillm::internals::residency::disk_rate;
use rillm::{Isa, ModelOptions};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes that are written and read to measure a disk, in so many parts.
const PROBED: usize = 128 << 20;
const PARTS: usize = 16;

/// For how long they are read at most.
const PROBING: Duration = Duration::from_millis(700);

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
    /// Bytes per second that its disk gives, if that was measured.
    pub disk: Option<f64>,
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
            disk: None,
            from: String::new(),
        })
    }

    /// This one, with figures measured earlier unless they are to be measured anew, and with its disk's
    /// if that is asked for.
    pub fn here(
        options: ModelOptions,
        remeasure: bool,
        disk: bool,
    ) -> Result<MachineFacts, CliError> {
        let mut machine = MachineFacts::unmeasured(options)?;
        let kept = kept();
        let earlier = kept.as_deref().filter(|_| !remeasure);
        let earlier = earlier.and_then(|path| machine.same(path));
        let mut is_new = earlier.is_none();
        match earlier {
            Some(earlier) => {
                (machine.limits, machine.disk) = (earlier.limits, earlier.disk);
                machine.from = "measured earlier (--remeasure does so anew)".to_string();
            }
            None => {
                machine.limits = Roofline::measure(machine.isa, machine.threads)?;
                machine.from = "measured now".to_string();
            }
        }
        let folder = kept.as_deref().and_then(Path::parent);
        // Without it, the next call measures again.
        let folder = folder.filter(|folder| std::fs::create_dir_all(folder).is_ok());
        if disk && machine.disk.is_none() {
            machine.disk = folder.and_then(|folder| disk_rate_of(folder).ok());
            is_new |= machine.disk.is_some();
        }
        if let Some(path) = kept.as_deref().filter(|_| is_new && folder.is_some()) {
            let text = machine.json().to_string();
            let _ = output::replace(path, |file| writeln!(file, "{text}"));
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
            disk: number("disk_gb_per_second").ok().map(|rate| rate * 1e9),
            from: "described".to_string(),
        })
    }

    /// What was measured with the same instructions on as many threads of the same processor.
    fn same(&self, path: &Path) -> Option<MachineFacts> {
        let earlier = MachineFacts::described(path).ok()?;
        let same =
            earlier.cpu == self.cpu && earlier.isa == self.isa && earlier.threads == self.threads;
        same.then_some(earlier)
    }

    pub fn json(&self) -> Value {
        let mut value = self.limits.json();
        value["cpu"] = json!(self.cpu);
        value["isa"] = json!(self.isa.name());
        value["threads"] = json!(self.threads);
        value["memory_bytes"] = json!(self.memory);
        // What was read back is written as it was.
        let disk = self.disk.map(|rate| (rate / 1e6).round() / 1e3);
        value["disk_gb_per_second"] = json!(disk);
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

/// Bytes per second that the disk gives which a folder is on: a file is written there, and read as weights
/// are for which there is no room.
fn disk_rate_of(folder: &Path) -> std::io::Result<f64> {
    let probe = Probe::new(folder.join(format!("disk-{}", std::process::id())));
    let mut file = File::create_new(&probe.path)?;
    // What some disks and file systems do not store as fewer bytes.
    let mut random = fastrand::Rng::with_seed(1);
    let mut part = vec![0; PROBED / PARTS];
    for _ in 0..PARTS {
        random.fill(&mut part);
        file.write_all(&part)?;
    }
    file.sync_all()?;
    disk_rate(&File::open(&probe.path)?, PROBING)
}

/// A file that goes with whoever made it.
struct Probe {
    path: PathBuf,
    _unfinished: Unfinished,
}

impl Probe {
    fn new(path: PathBuf) -> Probe {
        Probe {
            _unfinished: Unfinished::new(path.clone()),
            path,
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // There may be none.
        let _ = std::fs::remove_file(&self.path);
    }
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
