"""Makes tests/data/template_combinations.json: every filter, method, test and operator with values
of every kind, and every tag with every control of white space, as transformers' renderer has them.

    python tools/templates/combinations.py

Made with transformers 5.24.0 and jinja2 3.1.6 by Python 3.11. An expression stands with a text for
each value, or null where the reference refuses; false is what is left out, since the text of it has
an address or what the bounds of the renderer forbid.
"""

import itertools
import json
import re
from pathlib import Path

from transformers.utils.chat_template_utils import _compile_jinja_template

OUTPUT = Path(__file__).resolve().parents[2] / "tests/data/template_combinations.json"

VARIABLES = {
    "messages": [],
    "xs": [3, 1, 2],
    "words": ["b", "A", "c", "a"],
    "text": "  It's a \"test\" of wörlds -- well-known <b>ones</b>\n\nnext  ",
    "rows": [{"n": "x", "v": 2, "d": {"e": [7]}}, {"n": "y", "v": 1}, {"n": "X", "v": 2, "on": True}],
    "map": {"b": 1, "a": [1, 2], "C": None, "d-e": 'q"<'},
}

VALUES = """
none|true|0|-7|1234567|2.5|-0.0|1e22|3.14159|''|'a'|'Hello World'|'12'|'ß é 漢'|'a,b;c'|'l1\\nl2\\r\\n\\nl4'
[]|xs|words|rows|map|(1,2)|nothing|range(4)|map.items()|text|[[1,2],[3,4]]|['x',1,none]|('x' + '<')|namespace(a=1)
""".replace("('x' + '<')", "('<x'SAFE)").strip().replace("\n", "|").split("|")
VALUES = [value.replace("SAFE", " | safe") for value in VALUES]

FILTERS = """
abs; attr('a'); batch(2)|list; batch(2,'x')|list; capitalize; center(12); count; d('z'); default('q',true); dictsort
dictsort(by='value'); dictsort(true,'key',true); e; escape; filesizeformat; filesizeformat(true); first; float
float(1.5); forceescape; format(1); groupby('v'); groupby(0); indent; indent(2,true); indent('>>',true,true)
indent(width=3,first=true); int; int(5,16); items|list; join; join(','); join('-','n'); last; length; list; lower
map('upper')|list; map(attribute='n')|list; map(attribute='a',default=3)|list; map('default','x')|list
map('int')|list; max; min(case_sensitive=true); max(attribute='v'); pprint; reject('odd')|list; reject|list
rejectattr('v','eq',2)|list; replace('a','b'); replace('l','L',1); reverse|list; round; round(1); round(2,'ceil')
round(0,'floor'); round(-1); round(0,'x'); safe; select('string')|list; select('gt',1)|list; selectattr('v')|list
selectattr('on','true')|list; selectattr('n','in','xyz')|list; slice(2)|list; slice(3,'f')|list; sort; sort(true)
sort(case_sensitive=true); sort(attribute='v,n'); string; sum; sum(attribute='v'); sum(start=5); title; tojson
tojson(indent=2); tojson(ensure_ascii=true); tojson(separators=(',',':')); tojson(sort_keys=true); trim; trim('a ')
truncate; truncate(5); truncate(5,true,''); truncate(8,false,'..',0); unique|list; unique(true,'v')|list; upper
urlencode; wordcount; wordwrap; wordwrap(10); wordwrap(7,false); wordwrap(8,true,'|'); wordwrap(6,break_on_hyphens=false)
xmlattr; xmlattr(false); nosuch
"""
METHODS = """
upper(); lower(); title(); capitalize(); swapcase(); casefold(); strip(); strip('Hd '); lstrip(); rstrip(); split()
split(','); split(none,1); split(' ',2); split(sep=','); rsplit(',',1); rsplit(maxsplit=1); splitlines(); splitlines(true)
join(['x','y']); join(words); replace('l','L'); replace('l','L',1); replace('','-'); startswith('H')
startswith(('a','b')); endswith('d'); find('o'); find('o',-3,-1); rfind('o'); index('l'); count('l'); count('')
count('o',0,5); partition(' '); rpartition(' '); removeprefix('He'); removesuffix('ld'); center(20,'*')
ljust(15,'-'); rjust(15); zfill(15); expandtabs(2); isalpha(); isdigit(); isalnum(); isspace(); isupper(); islower()
istitle(); isnumeric(); isdecimal(); isidentifier(); isascii(); isprintable(); format(1,2); format_map({'a':1}); get('a')
get('zz',5); items(); keys(); values(); copy(); index(1); index(1,1); count(1); append(1); pop(); update({'a':1}); sort()
is_integer(); bit_length(); _private; nosuch; nosuch(); real; imag; numerator; denominator; a; b; v
"""
TESTS = """
boolean; callable; defined; divisibleby(3); eq(1); equalto('a'); escaped; even; false; float; ge(1); gt('a')
in([1,'a',none]); in('abc'); integer; iterable; le(1); lower; lt(1); mapping; ne(1); none; number; odd; sameas(none)
sameas(true); sequence; string; true; undefined; upper; nosuch
"""
OPERATORS = """
_[0]; _[-1]; _[1:] | join; _[:-1] | list; _[::-1] | list; _[-3:-1] | list; _[5:0:-2] | list; _['a']; _[none]; _[1.0]; _.0; _ ~ _
_ + 1; 1 + _; _ + 'a'; 'a' + _; _ + [1]; _ + (1,); _ * 2; 2 * _; _ - 1; _ / 2; _ // 2; 7 // _; _ % 3; _ ** 2; -_; +_
_ == 1; _ == 'a'; _ != _; _ < 1; _ < 'b'; 1 < _ < 5; 1 in _; 'a' in _; none in _; _ in [1,'a']; not _; _ and 't'
_ or 'f'; 'y' if _ else 'n'; [_]; (_,); {'k':_}; '%s' % _; '%r' % _; '%d' % _; '%5.2f|' % _; '%x' % _; '%s,%s' % _
'%(a)s' % _; '%05d' % _; '%-8s|' % (_,); '%+.3e' % _; '%g' % _; '%c' % _; '%a' % (_,); '%%' % _; '{}'.format(_)
'{:>10}'.format(_); '{:.2f}'.format(_); '{:05}'.format(_); '{!r}'.format(_); '{!s:>8}'.format(_); '{0[0]}'.format(_)
'{0.a}'.format(_); '{:d}'.format(_); '{:x}'.format(_); '{:,}'.format(_); '{:e}'.format(_); '{:g}'.format(_)
'{:%}'.format(_); '{:s}'.format(_); '{:^9}'.format(_); '{:+}'.format(_); '{:.3}'.format(_); '{!a}'.format(_); '{:#x}'.format(_)
'{:c}'.format(_); '{:08.3f}'.format(_); '{:=+6}'.format(_); dict(_); dict(a=_); range(_) | list; _(); [_, 1] | sort; [_, 'a'] | max
[_, _] | unique | list; [_] + [_]; _[_]; joiner(_)() ~ '|'; cycler(_, 1).next(); cycler(_, 1).current
"""


def several(text):
    return [one.strip() for line in text.strip().split("\n") for one in line.split(";") if one.strip()]


EXPRESSIONS = [
    *(f"_ | {one}" for one in several(FILTERS)),
    *(f"_.{one}" for one in several(METHODS)),
    *(f"_ is {one}" for one in several(TESTS)),
    *several(OPERATORS),
]

# A tag, and what ends it.
TAGS = [("if true", "endif"), ("for i in xs", "endfor"), ("set a = 1", None), ("raw", "endraw"), ("with b = 2", "endwith")]
TAGS += [("generation", "endgeneration"), ("filter upper", "endfilter"), ("set c", "endset"), ("macro m()", "endmacro")]
AROUND = [("x", "y"), ("x \n  ", "  \n y"), ("\n\n", "\n\n"), (" x ", "\t\n\n y")]


def tagged():
    """Tags with each control of white space on either side, in lines of their own and within others."""
    controls = list(itertools.product(["", "-", "+"], ["", "-", "+"]))
    for (tag, end), (left, right), (before, after) in itertools.product(TAGS, controls, AROUND):
        opened = f"{before}{{%{left} {tag} {right}%}}{after}"
        yield opened if end is None else f"{opened}{before}{{%{left} {end} {right}%}}{after}{{{{ c }}}}"
    for left, right, (before, after) in itertools.product(["", "-", "+"], ["", "-"], AROUND):
        yield f"{before}{{{{{left} 1 {right}}}}}{after}{before}{{#{left} c {right}#}}{after}"


STATEMENTS = """
{% set j = joiner('; ') %}{% for x in xs %}{{ j() }}{{ x }}{% endfor %}{{ j() }}
{% set c = cycler('a', 'b', 1) %}{{ c.next() }}{{ c.current }}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.reset() }}{{ c.current }}{{ c.nosuch }}
{% set c = cycler() %}
{% set j = joiner() %}{{ j(1) }}
{{ joiner()() }}{{ joiner is callable }}{{ joiner() is callable }}{{ cycler(1) is iterable }}{{ cycler(1) is defined }}
{% for r in rows recursive %}{{ r.n }}{% if loop.first %}{{ loop(rows[1:]) }}{% endif %}{{ loop.depth0 }}{% endfor %}
{% for x in xs recursive %}{{ x }}{% if x > 1 %}{{ loop(range(x)) }}{% endif %}{% endfor %}
{% for x in xs %}{{ loop(xs) }}{% endfor %}
{% for a in xs %}{% for b in words %}{{ loop.index }}{% if loop.last %}{% break %}{% endif %}{% else %}e{% endfor %}{{ loop.index }}{% endfor %}
{% for x in xs %}{% set loop = 5 %}{{ loop }}{% endfor %}
{% for loop in xs %}{% endfor %}
{% for x in xs if loop.first %}{{ x }}{% endfor %}
{% for x in xs if x != 1 %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }}{{ loop.revindex }}{% endfor %}
{% for x, y in map.items() if y %}{{ x }}={{ y }};{% else %}none{% endfor %}
{% for x in xs | sort | reverse %}{{ x }}{{ loop.length }}{{ loop.changed(x // 2) }}{% endfor %}
{% for w in words | map('lower') %}{{ loop.last }}{{ w }}{% endfor %}
{% for g in rows | groupby('v') %}{{ g.grouper }}:{{ g.list | map(attribute='n') | join }};{% endfor %}
{% for v, list in rows | groupby('on', default='') %}{{ v }}{{ list | length }}{% endfor %}
{% for v, list in rows | groupby('n', case_sensitive=true) %}{{ v }}{{ list | length }}{% endfor %}
{% macro m(a, b='x', *args) %}{% endmacro %}
{% macro m(a, b='x') %}{{ a }}{{ b }}{{ varargs }}{{ kwargs }}{{ caller is defined }}{% endmacro %}{{ m(1, 2, 3, c=4) }}{{ m(1, c=4) }}{{ m(*[1, 2, 3]) }}{{ m(**{'a': 7}) }}
{% macro m() %}{{ caller(1, 2) }}{% endmacro %}{% call(a, b=3) m() %}{{ a }}{{ b }}{% endcall %}
{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}{% call m() %}x{% endcall %}{% endcall %}
{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}
{% macro m(a) %}{{ m.arguments }}{{ m.name }}{{ m.catch_kwargs }}{{ m.catch_varargs }}{{ m.caller }}{% endmacro %}{{ m(1) }}
{% macro m(n) %}{{ n }}{% if n %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(3) }}{{ m(n=2) }}{{ m }}
{% macro m(a=[]) %}{{ a }}{% endmacro %}{{ m() }}{{ m([1]) }}{{ m(none) }}
{% set ns = namespace(a=1, b={'c': 2}) %}{% set ns.a = ns.a + 1 %}{{ ns.a }}{{ ns['a'] }}{{ ns.b.c }}{{ ns.z is defined }}{{ ns }}
{% set ns = namespace(xs) %}
{% set ns = namespace([['a', 1]], b=2) %}{{ ns.a + ns.b }}
{% set ns = namespace(a=1) %}{% for x in xs %}{% set ns.a %}{{ ns.a }}{{ x }}{% endset %}{% endfor %}{{ ns.a }}
{% set a, b = 'xy' %}{{ a }}{{ b }}{% set a, b = b, a %}{{ a }}{{ b }}
{% set a %}1{% set b %}2{% endset %}{{ b }}{% endset %}{{ a }}{{ b }}
{% set x = 1 %}{% with x = 2, y = x %}{{ x }}{{ y }}{% endwith %}{{ x }}
{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}{% for i in xs %}{% set x = i %}{% endfor %}{{ x }}
{% filter indent(2) | upper %}a\nb{% endfilter %}{% filter nosuch %}{% endfilter %}
{% if xs is sequence and xs is not string and xs is not mapping %}1{% elif nothing %}2{% else %}3{% endif %}
{{ nothing.a is defined }}
{{ map.nothing is defined }}{{ map.nothing.a is defined }}
{{ (map.nothing or {}).a is defined }}{{ map.get('nothing', {}).get('x') }}{{ map.nothing | default({}) }}
{{ nothing | default('a') ~ (nothing or 'b') ~ (nothing is none) ~ nothing }}{{ nothing in xs }}{{ [nothing] | length }}
{{ nothing in 'abc' }}
{{ nothing < 1 }}
{{ -nothing }}
{{ nothing | int }}
{{ nothing | float }}
{{ nothing | upper }}{{ nothing | trim }}{{ nothing | list }}{{ nothing | join }}{{ nothing | sort }}{{ nothing | length }}
{{ nothing | first }}{{ nothing | last }}{{ nothing | map('upper') | list }}{{ nothing | selectattr('a') | list }}{{ nothing | sum }}
{{ nothing | tojson }}
{{ nothing | dictsort }}
{{ [] | first is defined }}{{ [] | last is undefined }}{{ [] | max is undefined }}{{ [] | sum }}{{ [] | join('x') }}|{{ ([] | first) | default('d') }}
{{ xs[10] is defined }}{{ xs[10] | default('d') }}{{ text[1000] is defined }}{{ map[1] is undefined }}
{{ raise_exception('no ' ~ xs) }}
{{ raise_exception() }}
{{ '%s' % xs | length }}{{ 'a' ~ xs | length }}{{ xs | length * 2 }}{{ -xs | length }}
{{ 1 if xs }}{{ 2 if not xs }}{{ 3 if xs else 4 if true }}{{ (5 if false) is defined }}
{{ 'a' in words and 'z' not in words or false }}{{ not 'a' in words }}{{ 1 + 1 == 2 and 2 * 2 == 4 }}{{ 1 < 2 == true }}
{{ xs | map('string') | map('replace', '1', 'one') | join(', ') | upper }}
{{ rows | selectattr('d.e.0', 'defined') | map(attribute='d.e') | map('first') | list }}
{{ rows | map(attribute='d') | selectattr('e') | list }}{{ rows | rejectattr('d', 'defined') | map(attribute='n') | list }}
{{ rows | selectattr('v', '>', 1) | rejectattr('on', 'true') | list | length }}{{ xs | select('divisibleby', 3) | list }}
{{ rows | selectattr('v', 'nosuch', 1) | list }}
{{ xs | map('nosuch') | list }}
{{ xs | map() | list }}
{{ xs | map('round', precision=1) | list }}{{ [1.25, 2.35] | map('round', 1) | list }}
{{ words | sort(case_sensitive=true) | join }}{{ words | sort(reverse=true) | join }}{{ rows | sort(attribute='n', reverse=true) | map(attribute='n') | join }}
{{ map | dictsort(false, 'key') | length }}{{ {'b': 1, 'A': 2} | dictsort | map('first') | join }}{{ {'b': 1, 'A': 2} | dictsort(true) | map('first') | join }}
{{ xs | batch(2, '-') | map('join', ',') | join('|') }}{{ range(7) | slice(3, '-') | map('join', ',') | join('|') }}
{{ {'class': 'a b', 'id': none, 'x<': '"<>&'} | xmlattr }}|{{ {} | xmlattr }}|{{ {'a': 1} | xmlattr(autospace=false) }}|{{ {'a b': 1} | items | list }}
{{ {'a b': 1} | xmlattr }}
{{ {'a/b': 1} | xmlattr }}
{{ 999 | filesizeformat }}|{{ 1000 | filesizeformat }}|{{ 1500000 | filesizeformat }}|{{ 1536 | filesizeformat(true) }}|{{ '1e9' | filesizeformat }}|{{ 1e30 | filesizeformat }}
{{ 'x' | filesizeformat }}
{{ {'b': [1, {'z': 1, 'y': 2}], 'a': (1,)} | pprint }}{{ 'it' | pprint }}{{ 1.0 | pprint }}
{{ 'a well-known long-winded hyphen--ated text' | wordwrap(12) }}|{{ 'x' * 25 | int }}|{{ 'Supercalifragilistic expiali-docious' | wordwrap(10) }}|{{ '  lead' | wordwrap(4) }}
{{ 'one\ttwo three' | wordwrap(5) }}|{{ 'a-b-c-d-e-f' | wordwrap(3) }}|{{ 'foo--bar baz---qux' | wordwrap(6) }}|{{ '' | wordwrap(5) }}|{{ 'a\n\nb' | wordwrap(5, wrapstring='<br>') }}
{{ 'x' | wordwrap(0) }}
{{ 'ab-cd' | wordwrap(4) }}|{{ 'aa-bb-cc' | wordwrap(4) }}|{{ 'e-mail x-ray' | wordwrap(4) }}|{{ "don't can't-stop" | wordwrap(6) }}|{{ '1-2-3-4' | wordwrap(3) }}
{{ 'a\nb' | indent }}|{{ 'a\nb' | indent(2, true) }}|{{ '\na' | indent(2, true, true) }}|{{ 'a\r\nb' | indent('\t') }}|{{ 'a' | indent(width='>', first=true) }}
{{ 3.14159 | round(2) }}{{ 2.5 | round }}{{ 2.5 | round(0, 'ceil') }}{{ 2.5 | round(method='floor') }}{{ 12345 | round(-2) }}{{ true | round }}
{{ '{:>8}|{:<8}|{:^8}'.format('a', 'b', 'c') }}{{ '{0}{1}{0}'.format(1, 2) }}{{ '{a}'.format(a=1) }}{{ '{:,.2f}'.format(1234.5) }}{{ '{:05.1f}'.format(2.25) }}{{ '{:b}'.format(5) }}
{{ '{} {}'.format(1) }}
{{ '%s and %s' % ('a', 'b') }}{{ '%03d|%5.1f|%-5s|%x|%o|%e' % (7, 2.25, 'ab', 255, 8, 12345.678) }}{{ '%(a)s %(b)d' % {'a': 1, 'b': 2} }}{{ '%5s%%' % 3 }}
{{ '%d' % '3' }}
{{ '%s' | format('a') }}{{ '%s %s' | format(1, 2) }}{{ '%(a)s' | format(a=1) }}
{{ 'a,b' .split(',') }}{{ 'Hello'.removeprefix('He').removesuffix('lo') }}{{ 'hello world'.title().swapcase() }}{{ 'x'.join(['a', 'b']) }}{{ ' a '.strip() }}
{{ xs.count(1) }}{{ xs.index(2) }}{{ words.index('c') }}{{ (1, 2, 1).count(1) }}{{ 'abcabc'.count('bc') }}{{ range(5).index(3) }}
{{ xs.index(9) }}
{{ xs.append(4) }}
{{ map.update({'z': 1}) }}
{{ map.items() | list }}{{ map.keys() | list }}{{ map.values() | list }}{{ map.get('b') }}{{ map.get('zz', 'd') }}{{ map.b }}{{ map['d-e'] }}{{ dict(map, z=1).z }}
{{ dict([('a', 1)], b=2) }}{{ dict(a=1)['a'] }}{{ {'a': 1} == dict(a=1) }}{{ {} | length }}{{ {1: 'x'}[1] }}{{ {'a': 1, 'b': 2} | list }}
{{ range(5) | list }}{{ range(2, 8, 3) | list }}{{ range(3, 0, -1) | join }}{{ range(3)[1] }}{{ range(10)[::3] | list }}{{ 2 in range(3) }}{{ range(3) | length }}
{{ 1 is sameas 1 }}{{ true is sameas true }}{{ xs is sameas xs }}{{ none is sameas none }}{{ 1 is sameas true }}{{ [] is sameas [] }}
{{ 1 is number }}{{ 1.5 is number }}{{ true is number }}{{ '1' is number }}{{ true is integer }}{{ 1 is integer }}{{ 1.0 is float }}{{ true is boolean }}{{ 1 is boolean }}
{{ xs is iterable }}{{ 'a' is iterable }}{{ 5 is iterable }}{{ map is sequence }}{{ range(3) is sequence }}{{ xs | map('string') is sequence }}{{ xs | map('string') is iterable }}
{{ 'a' is string }}{{ ('a' | safe) is string }}{{ 'a' | e is escaped }}{{ map is mapping }}{{ xs is mapping }}{{ namespace() is mapping }}{{ 'a' is in 'abc' }}{{ 1 is in xs }}
{{ 1 is divisibleby }}
{{ 4 is divisibleby 2 }}{{ 4 is even }}{{ 3 is odd }}{{ 'abc' is lower }}{{ 'ABC' is upper }}{{ 5 is gt 3 }}{{ 5 is lessthan 3 }}{{ 'x' is eq 'x' }}{{ xs is callable }}{{ range is callable }}
{{ 'upper' is filter }}{{ 'nosuch' is filter }}{{ 'odd' is test }}{{ 'wordwrap' is filter }}{{ 'tojson' is filter }}{{ 'urlize' is filter }}
{{ "a" "b" }}{{ 'it\\'s' }}{{ "\\u00e9\\x41\\n" }}{{ '\\\\' }}{{ '\\a' | length }}{{ '\\0' | length }}
{{ 1_000 }}{{ 0xff }}{{ 0b101 }}{{ 0o17 }}{{ 1e3 }}{{ 1.5E-3 }}{{ 10 // 3 }}{{ -10 // 3 }}{{ -10 % 3 }}{{ 2 ** 3 ** 2 }}{{ 7 / 2 }}{{ 10 ** -2 }}{{ 1e100 }}
{{ 0.1 + 0.2 }}{{ 1e16 }}{{ 1e15 }}{{ 123456789012345678 }}{{ 1.0 }}{{ 100000.0 * 10 }}{{ 1 / 3 }}{{ 5e-5 }}{{ -0.0 }}{{ 3.0 // 2 }}{{ 2.0 ** 0.5 }}
{{ [1, 2.0, 'a', "it's", none, true, [], {}, (), (1,)] }}{{ {'a': [1, 'b'], 2: none} }}{{ 'é\\n\\t\\x00\\u200b' | list }}
{{ xs | tojson }}{{ map | tojson }}{{ map | tojson(indent=2) }}{{ text | tojson }}{{ 'é<>&\\'"\\u2028' | tojson }}{{ 1.0 | tojson }}{{ none | tojson }}{{ (1, 'a') | tojson }}
{{ rows | tojson(indent=1, separators=(',', ':'), sort_keys=true) }}{{ [] | tojson(indent=2) }}{{ {'é': 1} | tojson(ensure_ascii=true) }}
{% break %}
{% for x in xs %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{{ loop.index }}{% endfor %}{% for x in xs %}{{ x }}{% break %}{% endfor %}
{% do xs %}
{% trans %}{% endtrans %}
{% debug %}
{% import 'a' as b %}
{% from 'a' import b %}
{% include 'a' ignore missing %}
{% extends 'a' %}
{% block a %}x{{ self.a() }}{% endblock %}
{% block a %}1{% endblock %}{% block a %}2{% endblock %}
{% block a scoped %}1{% endblock a %}
{% if a %}{% else %}{% else %}{% endif %}
{% for x in xs %}{% endif %}
{% nosuch %}
{{ 1 +  }}
{{ xs[ }}
{{ a b }}
{{ a.1 }}{{ xs.0 }}{{ xs.0.real }}
{{ a..b }}
{{ 'a' | }}
{{ 1 is }}
{{ {1, 2} }}
{{ [1, 2,] }}{{ (1, 2,) }}{{ {'a': 1,} }}{{ dict(a=1,) }}
{{ f(a for a in b) }}
{{ a if }}
{{ lambda: 1 }}
{{ a = 1 }}
{{ a := 1 }}
{{ a ? b : c }}
{{ a && b }}
{{ !a }}
{{ a | b | c }}
{{ 1 if true else }}
{# a {{ b }} {% c %} #}x{#- y -#} z
{% raw %}{{ x }}{% endraw %}{%- raw -%} {% a %} {%- endraw -%} b
a{% if true %} b {%- else -%} c {% endif %}d
{%- if true -%} a {%- endif -%} b
{% if true %}\n  a\n{% endif %}\n\nb\n
\n{{ 1 }}\n\n{{ 2 }}\n
  {% if true %}x{% endif %}  \n  {# c #}  \n  y
{{ '{{' }}{{ '}}' }}{{ '{%' }}{{ "#}" }}{{ '-%}' }}
{{ xs[-1] }}{{ xs[-1:][0] }}{{ xs[:1] + xs[2:] }}{{ xs[::-1] }}{{ text[2:6] }}{{ text[::-2] }}{{ xs[none:2] }}{{ words[1:-1] | join }}
{{ xs[1.5] }}{{ xs['a'] }}{{ map[xs] }}
{{ xs['a':] }}
{{ text.split()[0] }}{{ text.strip().split('\n')[-1] }}{{ text | trim | length }}{{ text.find('test') }}{{ 'a' * 3 }}{{ [0] * 3 }}{{ xs * 0 }}
{{ ('a', 'b') | join(',') }}{{ ('<a>' | e) ~ '<b>' }}{{ '<b>' ~ ('<a>' | safe) }}{{ ['<' | e, '<'] | join }}{{ ('<' | safe) + '<' }}{{ 'a' + ('<' | e) }}
{{ ('a b' | safe).split() }}{{ ('a' | safe).upper() is escaped }}{{ ('a' | safe) ~ 'b' is escaped }}{{ ('<' | safe) * 2 }}
{{ strftime_now('%%') }}{{ strftime_now is callable }}{{ lipsum is callable }}{{ raise_exception is callable }}{{ tools is none }}{{ documents is none }}{{ messages }}
""".strip("\n").split("\n")
STATEMENTS = [line.replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "\r").replace("\\\n", "\\n") for line in STATEMENTS]

ENVIRONMENT = _compile_jinja_template("").environment
ENVIRONMENT.cache = None


def rendered(template):
    """What the reference makes of it, null if it refuses, false if that says nothing."""
    try:
        compiled = ENVIRONMENT.from_string(template)
        variables = json.loads(json.dumps(VARIABLES))
        text = compiled.render(tools=None, documents=None, add_generation_prompt=False, **variables)
    except Exception:  # whatever it is, the reference refuses
        return None
    if "pprint" in template and "\n" in text:
        return False
    return False if re.search(" at 0x|built-in|dict_(keys|items|values)\\(", text) or len(text) > 2000 else text


def main():
    rows = [[one, [rendered(f"{{% set _ = {value} %}}{{{{ {one} }}}}") for value in VALUES]] for one in EXPRESSIONS]
    templates = [[one, rendered(one)] for one in [*STATEMENTS, *tagged()]]
    line = lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    lines = lambda values: ",\n".join(map(line, values))
    text = f"[{line(json.dumps(VARIABLES, ensure_ascii=False))},\n{line(VALUES)},\n"
    text += f"[\n{lines(rows)}\n],\n[\n{lines(templates)}\n]]\n"
    OUTPUT.write_text(text, encoding="utf-8")
    print(sum(len(row[1]) for row in rows) + len(templates), "templates")


main()
