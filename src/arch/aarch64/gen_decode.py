"""Makes the A64 decoder out of the tables of encodings: what `a64_decode` looks up, and the names of all forms.

usage: gen_decode.py OUT_H OUT_C TABLE.insns...

A line of a table is one form (DDI 0487 C4):

    NAME  PATTERN  [CONDITION]...      # comment

PATTERN is the 32 bits from the highest, in groups as one likes: 0 and 1 are fixed, a letter belongs to the field of that letter, x may be
anything. A CONDITION is FIELD!=BITS, where FIELD is a letter: what is not so is not this form. x may stand in BITS. Of two forms that
both fit, the one that comes first is meant. `%class NAME` gives the lines below to a class (enum a64_class).
"""
import re
import sys


class Form:
    def __init__(self, name, pattern, conditions, klass, where):
        if len(pattern) != 32:
            sys.exit(f"{where}: {name}: {len(pattern)} bits instead of 32")
        self.name, self.klass = name, klass
        self.mask = int("".join("1" if c in "01" else "0" for c in pattern), 2)
        self.value = int("".join("1" if c == "1" else "0" for c in pattern), 2)
        self.excluded = [self.exclusion(pattern, condition, where) for condition in conditions]

    @staticmethod
    def exclusion(pattern, condition, where):
        match = re.fullmatch(r"([A-Za-z])!=([01x]+)", condition)
        if not match:
            sys.exit(f"{where}: {condition} is no condition")
        places = [31 - i for i, c in enumerate(pattern) if c == match[1]]
        if len(places) != len(match[2]):
            sys.exit(f"{where}: field {match[1]} has {len(places)} bits, {condition} says {len(match[2])}")
        mask = sum(1 << p for p, b in zip(places, match[2]) if b != "x")
        value = sum(1 << p for p, b in zip(places, match[2]) if b == "1")
        return mask, value


def read(path):
    klass = "BASE"
    for number, line in enumerate(open(path), 1):
        words = line.split("#")[0].split()
        where = f"{path}:{number}"
        if not words:
            continue
        if words[0] == "%class":
            klass = words[1]
            continue
        conditions = [w for w in words[1:] if "!=" in w]
        pattern = "".join(w for w in words[1:] if "!=" not in w)
        yield Form(words[0], pattern, conditions, klass, where)


def bucket_matches(form, bucket):
    mask, value = form.mask >> 21, form.value >> 21
    return (bucket & mask) == value


def main():
    out_h, out_c, tables = sys.argv[1], sys.argv[2], sys.argv[3:]
    forms = [form for table in tables for form in read(table)]
    names = [form.name for form in forms]
    order, classes = [], []
    for form in forms:
        if form.name not in order:
            order.append(form.name)
        if form.klass not in classes:
            classes.append(form.klass)
    assert len(names) == len(forms)
    with open(out_h, "w") as h:
        h.write("/* Made by gen_decode.py: the forms of A64 instructions. A64_FORMS(X) is X(name, class) for each. */\n")
        h.write("#define A64_FORMS(X) \\\n")
        klass_of = {form.name: form.klass for form in forms}
        h.write(" \\\n".join(f"\tX({name}, {klass_of[name]})" for name in order) + "\n")
        h.write("#define A64_CLASSES(X) " + " ".join(f"X({klass})" for klass in classes) + "\n")
    rows, lists, cache = [], [], {}
    for form in forms:
        rows.append(form)
    # Forms by the highest 11 bits: of each bucket the candidates, in order.
    flat, heads = [], []
    for bucket in range(2048):
        candidates = tuple(i for i, form in enumerate(rows) if bucket_matches(form, bucket))
        if candidates not in cache:
            cache[candidates] = len(flat)
            flat.extend(candidates)
            flat.append(len(rows))
        heads.append(cache[candidates])
    exclusions = []
    with open(out_c, "w") as c:
        c.write("/* Made by gen_decode.py. */\n")
        c.write("static const struct form forms[] = {\n")
        for form in rows:
            first = len(exclusions)
            exclusions.extend(form.excluded)
            c.write(f"\t{{0x{form.mask:08x}, 0x{form.value:08x}, A64_{form.name}, {first}, {len(form.excluded)}}},\n")
        c.write("};\nstatic const struct exclusion exclusions[] = {\n")
        for mask, value in exclusions or [(0, 1)]:
            c.write(f"\t{{0x{mask:08x}, 0x{value:08x}}},\n")
        c.write("};\nstatic const uint16_t candidates[] = {\n")
        for at in range(0, len(flat), 20):
            c.write("\t" + " ".join(f"{i}," for i in flat[at:at + 20]) + "\n")
        c.write(f"}};\n#define NO_FORM {len(rows)}\nstatic const uint16_t buckets[2048] = {{\n")
        for at in range(0, 2048, 20):
            c.write("\t" + " ".join(f"{i}," for i in heads[at:at + 20]) + "\n")
        c.write("};\n")


main()
