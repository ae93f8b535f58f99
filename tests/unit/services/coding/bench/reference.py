"""A solution of each of the bench's tasks, to prove that the hidden tests can be passed."""

SOLUTIONS = {
    "vowels_first": """
def vowels_first(words):
    return sorted(words, key=lambda word: (word[:1].lower() not in "aeiou", word.lower()))
""",
    "mask_number": """
def mask(number):
    hidden = sum(character.isdigit() for character in number) - 4
    result = ""
    for character in number:
        if character.isdigit():
            hidden -= 1
            character = "*" if hidden >= 0 else character
        result += character
    return result
""",
    "second_largest": """
def second_largest(numbers):
    values = sorted(set(numbers))
    return values[-2] if len(values) > 1 else None
""",
    "clock_text": """
def clock(seconds):
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
""",
    "rotate_list": """
def rotate(items, places):
    if not items:
        return []
    places %= len(items)
    return items[len(items) - places:] + items[:len(items) - places]
""",
    "common_word": """
def favourite(text):
    words = text.lower().translate(str.maketrans(".,?!", "    ")).split()
    return min(words, key=lambda word: (-words.count(word), word), default=None)
""",
    "grade_letter": """
def grade(points):
    if not 0 <= points <= 100:
        raise ValueError("outside")
    return "A" if points >= 90 else "B" if points >= 75 else "C" if points >= 50 else "F"
""",
    "windows": """
def windows(items, size, step):
    return [items[start:start + size] for start in range(0, len(items) - size + 1, step)]
""",
    "shift_letters": """
def shift(text, by):
    def moved(letter):
        for first in "aA":
            if "a" <= letter.lower() <= "z" and letter.isupper() == first.isupper():
                return chr((ord(letter) - ord(first) + by) % 26 + ord(first))
        return letter
    return "".join(map(moved, text))
""",
    "squeeze": """
from itertools import groupby
def squeeze(text):
    runs = [(character, len(list(run))) for character, run in groupby(text)]
    return "".join(character + (str(count) if count > 1 else "") for character, count in runs)
""",
    "unique_names": """
def unique(names):
    kept = {}
    for name in names:
        kept.setdefault(name.strip().lower(), name.strip())
    return list(kept.values())
""",
    "nested_brackets": """
def is_nested(text):
    opened, quoted = [], False
    for character in text:
        if character == '"':
            quoted = not quoted
        elif not quoted and character in "([{":
            opened.append(character)
        elif not quoted and character in ")]}":
            if not opened or "([{".index(opened.pop()) != ")]}".index(character):
                return False
    return not opened
""",
    "best_day": """
def best_day(prices):
    rises = [after - before for before, after in zip(prices, prices[1:])]
    best = max(rises, default=0)
    return rises.index(best) + 1 if best > 0 else -1
""",
    "nested_totals": """
def total(data):
    if isinstance(data, dict):
        return sum(map(total, data.values()))
    if isinstance(data, (list, tuple)):
        return sum(map(total, data))
    return data if isinstance(data, (int, float)) and not isinstance(data, bool) else 0
""",
    "anagram_groups": """
def anagrams(words):
    groups = {}
    for word in words:
        groups.setdefault("".join(sorted(word.lower().replace(" ", ""))), []).append(word)
    return [group for group in groups.values() if len(group) > 1]
""",
    "shared_bill": """
def split_bill(cents, people):
    if people < 1:
        raise ValueError("nobody")
    share, rest = divmod(cents, people)
    return [share + (place < rest) for place in range(people)]
""",
    "till": """
class Till:
    def __init__(self):
        self.balance, self._done = 0, []
    def deposit(self, amount):
        self.balance += amount
        self._done.append(amount)
    def withdraw(self, amount):
        if amount > self.balance:
            raise ValueError("too much")
        self.deposit(-amount)
    def undo(self):
        if self._done:
            self.balance -= self._done.pop()
""",
    "fold_runs": """
def fold_runs(numbers):
    runs = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = []
    for run in runs:
        parts += [f"{run[0]}-{run[-1]}"] if len(run) > 2 else [str(number) for number in run]
    return ",".join(parts)
""",
    "middle": """
def middle(text):
    return text[(len(text) - 1) // 2:len(text) // 2 + 1]
""",
    "turned_words": """
def turn(sentence):
    return " ".join(reversed(sentence.split())).capitalize()
""",
}
