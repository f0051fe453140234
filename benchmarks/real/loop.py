"""A pure-Python loop: integers, a dictionary, a list, calls, text. Run natively and in the guests."""


def collatz(n):
    steps = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return steps


def main():
    seen, words = {}, []
    for number in range(1, 20000):
        steps = collatz(number)
        seen[steps] = seen.get(steps, 0) + 1
        words.append(f"{number}:{steps}")
    assert max(seen) == 278
    print(len(",".join(sorted(words))), max(seen))


main()
