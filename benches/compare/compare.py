#!/usr/bin/env python3
"""Measures rillm beside llama.cpp and ik_llama.cpp and writes a report: docs/performance.md is one.

    cargo build --release
    python3 benches/compare/compare.py --llama-cpp PATH/llama-bench --ik PATH/llama-bench

Models have real shapes and random weights (`rillm synth`); all engines get the same file and the
same threads. Each engine runs in each of its configurations and its best one counts, test by test.
The file is cached: rillm has read it from the disk just before, which leaves it in large pages where
the system can, for all engines alike.
Runs are interleaved: one of each engine, then again; medians count. What is measured is kept in a
file of results, so that a comparison can be made in pieces (--only 1b-q4_k_m --quick) and the
report written from all of them; a piece measured again replaces the former one.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

SHAPES = {
    "1b": "llama-3.2-1b",
    "135m": "smollm-135m",
    "olmoe": "olmoe-like",
    "qwen3-moe": "qwen3-moe-like",
    "deepseek-v2": "deepseek-v2-lite-like",
    "gpt-oss": "gpt-oss-like",
    "qwen3.5": "qwen3.5-0.8b",
    "lfm2": "lfm2-1.2b",
    "gemma-3n": "gemma-3n-e2b",
    "mamba": "mamba-370m",
    "mamba2": "mamba2-370m",
    "rwkv7": "rwkv7-0.4b",
}
CASES = [
    f"{shape}-{mix}"
    for shape, mixes in {
        "1b": ["q4_k_m", "q4_0", "q8_0", "q6_k", "q3_k_m", "iq4_xs", "f16", "bf16"],
        "135m": ["q4_k_m", "q4_0", "q8_0"],
        "olmoe": ["q4_k_m", "q4_0", "q8_0"],
        "qwen3-moe": ["q4_k_m", "q4_0", "q8_0"],
        "deepseek-v2": ["q4_k_m"],
        "gpt-oss": ["mxfp4_moe"],
        "qwen3.5": ["q4_k_m", "q8_0"],
        "lfm2": ["q4_k_m", "q8_0"],
        "gemma-3n": ["q4_k_m", "q8_0"],
        "mamba": ["q4_k_m", "q8_0"],
        "mamba2": ["f16", "q4_k_m"],
        "rwkv7": ["f16"],
    }.items()
    for mix in mixes
]
# Families beside a LLaMA of the same size, rillm alone: the first is what the others are held to.
FAMILIES = "llama-370m retnet-370m linear-370m gla-370m rwkv4-430m rwkv6-0.4b rwkv7-0.4b mamba-370m mamba2-370m".split()
ENGINES = ["rillm", "llama.cpp", "ik_llama.cpp"]
# A test's arguments for each engine; ik_llama.cpp has no depth, but reads and writes in one test.
TESTS = {
    "pp512": [["-p", "512", "-n", "0"]] * 3,
    "tg128": [["-p", "0", "-n", "128"]] * 3,
    "tg32 @ d4096": [["-p", "0", "-n", "32", "-d", "4096"]] * 2 + [["-p", "0", "-n", "0", "-gp", "4096,32"]],
}
# Keys and values of the past in q8_0, which llama.cpp and ik_llama.cpp have with flash attention.
Q8_0_KV = [["--kv-type", "q8_0"]] + [["-ctk", "q8_0", "-ctv", "q8_0"]] * 2
TESTS["tg32 @ d4096, q8_0 KV"] = [test + kv for test, kv in zip(TESTS["tg32 @ d4096"], Q8_0_KV)]
# Tests at a depth take long: for these cases and as many threads alone.
DEEP = [("1b-q4_k_m", 2), ("deepseek-v2-q4_k_m", 2)]
QUICK = {"pp128": [["-p", "128", "-n", "0"]] * 3, "tg16": [["-p", "0", "-n", "16"]] * 3}
RILLM = [[], ["--no-mmap"]]
LLAMA_CPP = [["--repack", repack] for repack in "10"]
IK = [["-rtr", repack] for repack in "10"]


def with_attention(configurations, test):
    """At a depth the form of attention matters as well, which llama.cpp calls on and off, its fork 1 and 0."""
    if "@" not in test:
        return configurations
    on, off = ("1", "0") if configurations is IK else ("on", "off")
    forms = [on] if "KV" in test else [on, off]
    return [[*configuration, "-fa", form] for configuration in configurations for form in forms]


COLOURS = {"llama.cpp": "#4e79a7", "ik_llama.cpp": "#f28e2b"}


def output(command):
    """Standard output of a command; None if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return done.stdout if done.returncode == 0 else None


def rillm_rate(arguments, model, threads, test, configuration):
    """Tokens per second, and what share that is of what this machine allowed just then."""
    command = [arguments.rillm, "bench", str(model), "-t", str(threads), "-r", "1"]
    printed = output(command + ["--json", "-b", "512"] + test[0] + configuration)
    if not printed:
        return None, None
    line = json.loads(printed.splitlines()[-1])
    return line["tokens_per_second"], line.get("share")


def peer_line(binary, model, threads, arguments):
    """What a peer's llama-bench says of its last test; nothing if it fails."""
    command = [binary, "-m", str(model), "-t", str(threads), "-r", "1", "-o", "json"]
    printed = output(command + arguments)
    try:
        return json.loads(printed)[-1] if printed else {}
    except (ValueError, IndexError):
        return {}


def peers(arguments, test):
    """Name, binary, configurations."""
    if arguments.llama_cpp:
        yield "llama.cpp", arguments.llama_cpp, with_attention(LLAMA_CPP, test)
    if arguments.ik:
        yield "ik_llama.cpp", arguments.ik, with_attention(IK, test)


def settle(arguments, model):
    """Has the file read from the disk by rillm, which asks for large pages."""
    if hasattr(os, "posix_fadvise"):
        os.sync()
        with open(model, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    output([arguments.rillm, "bench", str(model), "-p", "8", "-n", "0", "-r", "1", "--no-roofline"])


def drawn(arguments, name, shape, mix):
    """The model's file, which rillm has read."""
    model = arguments.models / f"{name}.gguf"
    if not model.exists():
        print(f"drawing {model}", file=sys.stderr)
        command = [arguments.rillm, "synth", shape, str(model), "-q", mix]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    settle(arguments, model)
    return model


def measure_families(arguments, threads, results):
    """Prefill of every family in Q8_0."""
    models = {family: drawn(arguments, f"{family}-q8_0", family, "q8_0") for family in FAMILIES}
    rates = {family: [] for family in FAMILIES}
    for _ in range(arguments.repeat):
        for family, model in models.items():
            rates[family].append(rillm_rate(arguments, model, threads, TESTS["pp512"], [])[0])
    results["families"] = {
        "date": datetime.date.today().isoformat(),
        "threads": threads,
        "rates": {family: statistics.median(found) for family, found in rates.items()},
        "runs": arguments.repeat,
    }


def measure(arguments, case, threads, results):
    shape, mix = case.rsplit("-", 1)
    model = drawn(arguments, case, SHAPES[shape], mix)
    for name, test in (QUICK if arguments.quick else TESTS).items():
        if "@" in name and (case, threads) not in DEEP:
            continue
        rates, shares = {}, {}
        for _ in range(arguments.repeat):
            for configuration in RILLM:
                key = ("rillm", " ".join(configuration))
                rate, share = rillm_rate(arguments, model, threads, test, configuration)
                rates.setdefault(key, []).append(rate)
                shares.setdefault(key, []).append(share)
            for peer, binary, configurations in peers(arguments, name):
                form = ENGINES.index(peer)
                for configuration in configurations:
                    key = (peer, " ".join(configuration))
                    # What has failed once, fails.
                    if None in rates.get(key, []):
                        continue
                    line = peer_line(binary, model, threads, test[form] + configuration)
                    rates.setdefault(key, []).append(line.get("avg_ts"))
        found = {}
        for (engine, configuration), values in rates.items():
            if None in values:
                found.setdefault(engine, {"rate": None, "configuration": "fails"})
                continue
            median = statistics.median(values)
            if engine == "rillm" and not configuration:
                found["mapped"] = {"rate": median, "all": values}
            if (found.get(engine, {}).get("rate") or 0) < median:
                found[engine] = {"rate": median, "configuration": configuration, "all": values}
                reached = [share for share in shares.get((engine, configuration), []) if share]
                if reached:
                    found[engine]["share"] = statistics.median(reached)
        results["cases"][f"{case} {threads} {name}"] = {
            "case": case,
            "threads": threads,
            "test": name,
            "date": datetime.date.today().isoformat(),
            "engines": found,
        }
        shown = ", ".join(f"{engine} {fact['rate']}" for engine, fact in found.items())
        print(f"{case}, {threads} threads, {name}: {shown}", file=sys.stderr)


def cpu():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fact = lambda key: next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "?")
    return f"{fact('model name')} (family {fact('cpu family')}, model {fact('model')}), {os.cpu_count()} processors"


def tiny(arguments):
    model = arguments.models / "roofline.gguf"
    if not model.exists():
        command = [arguments.rillm, "synth", "tiny-llama", str(model)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return model


def roofline(arguments, threads):
    """This machine's limits, as `rillm bench` measures them."""
    command = [arguments.rillm, "bench", str(tiny(arguments)), "-t", str(threads), "-p", "8", "-n", "0"]
    printed = output(command + ["-r", "1", "--json"])
    return json.loads(printed.splitlines()[-1]).get("roofline") if printed else None


def version(binary):
    printed = output([binary, "--version"]) or ""
    return printed.strip().splitlines()[0] if printed.strip() else "unknown"


def peer_version(arguments, binary):
    """A llama-bench names its build beside each figure only."""
    line = peer_line(binary, tiny(arguments), 1, ["-p", "1", "-n", "0"])
    return f"build {line.get('build_number', '?')} ({line.get('build_commit', '?')})"


def number(rate):
    return "–" if rate is None else f"{rate:.1f}" if rate < 1000 else f"{rate:.0f}"


def ratio(entry, peer):
    ours, theirs = (entry["engines"].get(name, {}).get("rate") for name in ("rillm", peer))
    return ours / theirs if ours and theirs else None


def markdown(results, svg):
    facts = results["facts"]
    lines = [
        "# Beside llama.cpp and ik_llama.cpp",
        "",
        "Written by `benches/compare/compare.py`, which anyone can run: models have real shapes and",
        "random weights (`rillm synth`), every engine gets the same file and threads, runs are",
        "interleaved and medians count. Of each engine its best configuration counts, test by test",
        "(rillm: mapped, or copied into memory by `--no-mmap`; llama.cpp: repacked or not, ik_llama.cpp:",
        "repacked at run time or not; at a depth both with flash attention and without). Ratios are",
        "ours to theirs; above 1 we are faster. The share is of what this machine's int8 or float",
        "units, or its memory bus, would allow, measured beside each run. What bounds each figure,",
        "and which aims are missed, stands in [limits.md](limits.md).",
        "",
    ]
    lines += [f"- {name}: {fact}" for name, fact in facts.items()]
    dates = sorted({entry["date"] for entry in results["cases"].values() if "date" in entry})
    lines.append(f"- measured: {' to '.join(dict.fromkeys([*dates[:1], *dates[-1:]]))}")
    for threads, limits in sorted(results.get("rooflines", {}).items()):
        shown = ", ".join(f"{name.replace('_', ' ')} {value:.1f}" for name, value in limits.items())
        plural = "" if threads == "1" else "s"
        lines.append(f"- limits with {threads} thread{plural}: {shown}")
    lines += ["", f"![ratios]({svg.name})", ""]
    head = "| model | threads | test | runs | rillm, mapped | rillm, best | share | llama.cpp | ratio | with |"
    lines += [head + " ik_llama.cpp | ratio | with |", "|:--|--:|:--|" + "--:|" * 6 + ":--|--:|--:|:--|"]
    for entry in ordered(results):
        engines = entry["engines"]
        cells = [entry["case"], str(entry["threads"]), entry["test"]]
        cells.append(str(len(engines.get("rillm", {}).get("all", []))))
        cells.append(number(engines.get("mapped", {}).get("rate")))
        cells.append(number(engines.get("rillm", {}).get("rate")))
        share = engines.get("rillm", {}).get("share")
        cells.append(f"{share:.0%}" if share else "–")
        for peer in ENGINES[1:]:
            found, share = engines.get(peer, {}), ratio(entry, peer)
            cells += [number(found.get("rate")), f"**{share:.2f}**" if share else "–"]
            cells.append(f"`{found['configuration']}`" if found.get("configuration") else "–")
        lines.append("| " + " | ".join(cells) + " |")
    if "families" in results:
        lines += families(results["families"])
    return "\n".join(lines) + "\n"


def families(found):
    rates = found["rates"]
    ours = rates[FAMILIES[0]]
    lines = [
        "",
        "## Prompts, family beside family",
        "",
        f"rillm alone (`compare.py --families`), pp512 in Q8_0, {found['threads']} threads, medians of {found['runs']}",
        f"interleaved runs, {found['date']}.",
        "",
        f"| model | tokens/s | beside {FAMILIES[0]} |",
        "|:--|--:|--:|",
    ]
    return lines + [f"| {name} | {number(rate)} | {rate / ours:.2f} |" for name, rate in rates.items()]


def ordered(results):
    place = {case: index for index, case in enumerate(CASES)}
    key = lambda entry: (place.get(entry["case"], 99), -entry["threads"], entry["test"])
    return sorted(results["cases"].values(), key=key)


def chart(results):
    """Ratios as bars, a row for each test; the line at 1 is the peer's speed."""
    rows = [entry for entry in ordered(results) if any(ratio(entry, peer) for peer in COLOURS)]
    most = max([ratio(entry, peer) or 0 for entry in rows for peer in COLOURS], default=1)
    left, width, height, top = 300, 520, 34, 60
    scale = width / max(most, 1.2)
    total = top + height * len(rows) + 40
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 70} {total}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{left}" y="22" font-size="15" font-weight="bold">rillm\'s speed over each peer\'s best</text>',
    ]
    for index, (peer, colour) in enumerate(COLOURS.items()):
        x = left + 150 * index
        out.append(f'<rect x="{x}" y="33" width="12" height="12" fill="{colour}"/>')
        out.append(f'<text x="{x + 18}" y="43">over {peer}</text>')
    for row, entry in enumerate(rows):
        y = top + height * row
        plural = "" if entry["threads"] == 1 else "s"
        name = f"{entry['case']}, {entry['test']}, {entry['threads']} thread{plural}"
        out.append(f'<text x="{left - 8}" y="{y + 18}" text-anchor="end">{name}</text>')
        for bar, (peer, colour) in enumerate(COLOURS.items()):
            share = ratio(entry, peer)
            if share:
                long, at = share * scale, y + 2 + 14 * bar
                out.append(f'<rect x="{left}" y="{at}" width="{long:.1f}" height="13" fill="{colour}"/>')
                out.append(f'<text x="{left + long + 4:.1f}" y="{at + 10}" font-size="10">{share:.2f}</text>')
    one, end = left + scale, top + height * len(rows)
    out.append(f'<line x1="{one:.1f}" y1="{top - 6}" x2="{one:.1f}" y2="{end}" stroke="black" stroke-dasharray="4 3"/>')
    out.append(f'<text x="{one:.1f}" y="{end + 16}" text-anchor="middle">as fast as the peer</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"


def main():
    root = Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = Path(os.environ.get("CARGO_TARGET_DIR", root / "target"))
    parser.add_argument("--rillm", default=str(target / "release/rillm"))
    parser.add_argument("--llama-cpp", help="its llama-bench")
    parser.add_argument("--ik", help="ik_llama.cpp's llama-bench")
    parser.add_argument("--llama-cpp-version", default="", help="what the report calls it")
    parser.add_argument("--ik-version", default="", help="what the report calls it")
    parser.add_argument("--only", default=",".join(CASES), help=f"some of {','.join(CASES)}")
    parser.add_argument("--threads", default="2,1", help="numbers of threads")
    parser.add_argument("--repeat", type=int, default=3, help="interleaved runs of each")
    parser.add_argument("--families", action="store_true", help="instead: prompts of rillm's families, side by side")
    parser.add_argument("--quick", action="store_true", help="short tests, to try it out")
    parser.add_argument("--models", type=Path, default=target / "compare", help="where models are kept")
    parser.add_argument("--results", type=Path, default=target / "compare/results.json")
    parser.add_argument("--report", type=Path, default=target / "compare/performance.md")
    parser.add_argument("--report-only", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    results = {"facts": {}, "rooflines": {}, "cases": {}}
    if arguments.results.exists():
        results = json.loads(arguments.results.read_text())
    if not arguments.report_only:
        unknown = [case for case in arguments.only.split(",") if case not in CASES]
        if unknown:
            parser.error(f"there is no case {unknown[0]}, known are {', '.join(CASES)}")
        if not os.path.exists(arguments.rillm):
            parser.error(f"there is no {arguments.rillm}: build it, or say where it is (--rillm)")
        if os.getloadavg()[0] > 0.5:
            print("warning: the machine is busy, ratios will be of little use", file=sys.stderr)
        arguments.models.mkdir(parents=True, exist_ok=True)
        arguments.results.parent.mkdir(parents=True, exist_ok=True)
        facts = results["facts"]
        facts["CPU"] = cpu()
        facts.pop("date", None)
        facts["rillm"] = version(arguments.rillm)
        for name, asked, binary in [
            ("llama.cpp", arguments.llama_cpp_version, arguments.llama_cpp),
            ("ik_llama.cpp", arguments.ik_version, arguments.ik),
        ]:
            if binary:
                facts[name] = asked or peer_version(arguments, binary)
        for threads in map(int, arguments.threads.split(",")):
            limits = roofline(arguments, threads)
            if limits:
                results["rooflines"][str(threads)] = limits
            if arguments.families:
                measure_families(arguments, threads, results)
            for case in [] if arguments.families else arguments.only.split(","):
                measure(arguments, case, threads, results)
                arguments.results.write_text(json.dumps(results, indent=1) + "\n")
            arguments.results.write_text(json.dumps(results, indent=1) + "\n")
    svg = arguments.report.with_suffix(".svg")
    arguments.report.parent.mkdir(parents=True, exist_ok=True)
    arguments.report.write_text(markdown(results, svg))
    svg.write_text(chart(results))
    print(f"{arguments.report} and {svg}", file=sys.stderr)


if __name__ == "__main__":
    main()
