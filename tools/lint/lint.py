"""lint.py -- what a reviewer would say twice, said by a program.

Rules; each finding is one line "path:line: message", and any error makes the exit status 1:
  layers    an #include "folder/x.h" in src/ points to the same layer or to one above it in
            src/LAYERS (error)
  readme    every folder of src/ that holds code has a README.md (error)
  heads     every .c and .h of src/ opens with a comment that introduces the file (error)
  guards    the include guard is HF_ and the path (error)
  notes     TODO, FIXME and XXX carry an issue: "TODO(#12)" (error)
  size      a file above 900 lines is probably two stories (warning)
  settings  every row of server/config.def stands in docs/ops/configuration.md (error)
  programs  every program of tests/blackbox is run by script/test (error)
  calls     calls with a better one: strcpy, sprintf, atoi, ... (error)
  threads   what a simulation runs waits through os/thread.h, not through pthread (error)
"""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LINES_MAX = 900
BETTER = {
    "strcpy": "copy with a size (memcpy, snprintf)",
    "strcat": "struct buf",
    "sprintf": "snprintf",
    "vsprintf": "vsnprintf",
    "gets": "fgets",
    "atoi": "number_parse_int",
    "atol": "number_parse_int",
    "strtok": "a loop over bytes",
    "alloca": "an arena",
}
# Folders where the seam itself lives, or where an outside tool is spoken to.
SEAM = ("src/os/",)
SEAM_CALLS = {"fdatasync": "OS.fdatasync", "fsync": "OS.fdatasync or OS.sync_dir",
              "gettimeofday": "OS.wall_ms", "ftruncate": "OS.ftruncate"}

errors, warnings = [], []


def layers():
    with open(os.path.join(ROOT, "src/LAYERS"), encoding="utf-8") as file:
        return [line.strip() for line in file if line.strip() and not line.startswith("#")]


def source_files(folders, suffixes):
    for folder in folders:
        for path, names, files in os.walk(os.path.join(ROOT, folder)):
            names[:] = sorted(n for n in names if n not in ("node_modules", "build", "__pycache__", "corpus"))
            for name in sorted(files):
                if name.endswith(suffixes):
                    yield os.path.relpath(os.path.join(path, name), ROOT)


def check_layers(path, number, line, order):
    found = re.match(r'\s*#\s*include\s+"([a-z0-9_]+)/', line)
    if not found or not path.startswith("src/"):
        return
    mine = path.split("/")[1]
    other = found.group(1)
    if other not in order:
        return
    if mine not in order:
        errors.append(f"{path}:{number}: folder {mine} is not in src/LAYERS")
    elif order.index(other) > order.index(mine):
        errors.append(f"{path}:{number}: layer {mine} includes {other}, which stands below it in src/LAYERS")


def without_strings(line):
    return re.sub(r'"(\\.|[^"\\])*"', '""', line)


def check_file(path, order):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as file:
        lines = file.read().split("\n")
    product = path.startswith("src/")
    if product and path.endswith((".c", ".h")):
        if not lines[0].startswith("/*"):
            errors.append(f"{path}:1: the file does not introduce itself (head comment)")
        if path.endswith(".h"):
            place = re.sub(r"/(\w+)/\1_", r"/\1_", path[len("src/"):])  # proto/resp/resp_x.h: said once
            guard = "HF_" + re.sub(r"[^A-Za-z0-9]", "_", place).upper()
            if not any(l.strip() == f"#ifndef {guard}" for l in lines[:60]):
                errors.append(f"{path}:1: the include guard is {guard}")
    if len(lines) > LINES_MAX:
        warnings.append(f"{path}:{len(lines)}: more than {LINES_MAX} lines; does it tell two stories?")
    in_comment = False
    for number, line in enumerate(lines, 1):
        if re.search(r"\b(TODO|FIXME|XXX)\b", line) and not re.search(r"TODO\(#\d+\)", line) \
                and path != "tools/lint/lint.py":
            errors.append(f"{path}:{number}: a note without an issue; write TODO(#n) or do it")
        check_layers(path, number, line, order)
        if not product:
            continue
        code = without_strings(line)
        if in_comment:
            if "*/" not in code:
                continue
            code = code.split("*/", 1)[1]
            in_comment = False
        code = re.sub(r"/\*.*?\*/", "", code)
        if "/*" in code:
            code = code.split("/*", 1)[0]
            in_comment = True
        code = code.split("//", 1)[0]
        for name, better in BETTER.items():
            if re.search(rf"(?<![\w.>]){name}\s*\(", code):
                errors.append(f"{path}:{number}: {name}: use {better}")
        if not path.startswith(("src/os/", "src/server/")) and re.search(r"\bpthread_(?!once)|\bsched_yield\b", code):
            errors.append(f"{path}:{number}: threads wait through os/thread.h, or the simulator (tests/sim) stands still")
        if not path.startswith(SEAM):
            for name, better in SEAM_CALLS.items():
                if re.search(rf"(?<![\w.>]){name}\s*\(", code):
                    errors.append(f"{path}:{number}: {name}: the world is reached through {better}")


def check_readmes():
    for path, _, files in os.walk(os.path.join(ROOT, "src")):
        short = os.path.relpath(path, ROOT)
        if short != "src" and any(f.endswith((".c", ".h")) for f in files) and "README.md" not in files:
            if os.path.dirname(short) == "src":
                errors.append(f"{short}: no README.md")


def check_settings():
    with open(os.path.join(ROOT, "src/server/config.def"), encoding="utf-8") as file:
        names = re.findall(r'^SETTING\(\w+, "([^"]+)"', file.read(), re.M)
    with open(os.path.join(ROOT, "docs/ops/configuration.md"), encoding="utf-8") as file:
        page = file.read()
    for name in names:
        if f"`{name}`" not in page:
            errors.append(f"src/server/config.def: {name} is missing in docs/ops/configuration.md")


def check_programs():
    with open(os.path.join(ROOT, "script/test"), encoding="utf-8") as file:
        run = set(re.findall(r'^(?:blackbox|sanitized) ".*" (\w+\.py) ', file.read(), re.M))
    for path in source_files(["tests/blackbox"], (".py",)):
        folder, name = os.path.split(path)
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            if folder == "tests/blackbox" and '\nif __name__ == "__main__":' in file.read() and name not in run:
                errors.append(f"{path}: script/test does not run it")


def main():
    order = layers()
    for path in source_files(["src", "tests", "tools", "bench", "examples", "include"], (".c", ".h", ".py", ".def")):
        check_file(path, order)
    for path in source_files(["script"], ("",)):
        check_file(path, order)
    check_readmes()
    check_settings()
    check_programs()
    for line in warnings:
        print("warning: " + line)
    for line in errors:
        print(line)
    print(f"lint: {len(errors)} errors, {len(warnings)} warnings")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
