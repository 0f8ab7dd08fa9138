"""Makes tests/data/templates.json: small templates, each of which exercises a feature that chat
templates use, and the text that transformers' renderer makes of them.

    python tools/templates/make.py

Made with transformers 5.24.0 and jinja2 3.1.6. A row is a template and the text expected of it, or
null where the reference refuses; the variables are the same for all, and stand first.
"""

import json
from pathlib import Path

from transformers.utils.chat_template_utils import _normalize_chat_messages, render_jinja_template

OUTPUT = Path(__file__).resolve().parents[2] / "tests/data/templates.json"

VARIABLES = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "add_generation_prompt": True,
    "messages": [
        {"role": "system", "content": "Be <b>brief</b> & 'kind'."},
        {"role": "user", "content": "Hé \"you\" \\ \t漢字 😀\n"},
        {
            "role": "assistant",
            "content": None,
            "reasoning": "hm",
            "tool_calls": [
                {
                    "type": "function",
                    "function": {
                        "name": "weather",
                        "arguments": {"city": "Zürich", "days": 3, "ratio": 1.0, "far": 1e22, "ok": True,
                                      "none": None, "list": [1, "it's", [False, "\u00a0\x00"]]},
                    },
                }
            ],
        },
        {"role": "tool", "name": "weather", "content": [{"type": "text", "text": "sunny"}, {"type": "image"}]},
        {"role": "user", "content": "  thanks  "},
    ],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "Tells <the> weather",
                "parameters": {
                    "type": "object",
                    "properties": {"city": {"type": "string"}, "days": {"type": ["integer", "null"], "maximum": 14.5}},
                    "required": ["city"],
                },
            },
        }
    ],
    "xs": [3, 1, 2],
    "words": ["b", "A", "c", "a"],
    "text": "  Hello wörld, it's a \"test\"  ",
    "rows": [{"n": "x", "v": 2, "d": {"e": [7]}}, {"n": "y", "v": 1}, {"n": "X", "v": 2, "on": True}],
    "map": {"b": 1, "a": [1, 2], "C": None, "items": 5},
    "numbers": [0.1, 1e16, 1e-5, 123456789.0, -0.0, 1e15, 0.0001, 2.5, -7, 2**40, 1.5e300],
    "crlf": "a\r\nb\rc",
}

# What stands in `{{ … }}`.
EXPRESSIONS = """
1 + 2 * 3 - 4
7 // 2, -7 // 2, 7 % 3, -7 % 3, 7 % -3, 7.5 // 2, -7.5 % 2, 7 / 2, 6 / 2
2 ** 10, 2 ** -1, 2 ** 0.5, -2 ** 2, 2 ** 3 ** 2
1_000 + 0x1F + 0b11 + 0o17, 1e3, 1.5e-7
true + 1, true == 1, false == 0, 1 == 1.0, none == none, 'a' == 1
1 < 2 < 3, 1 < 3 < 2, 'a' < 'b', [1, 2] < [1, 3], 3 >= 3.0
not true or true and false
1 if 0 else 2
'x' if false
(1 if false) is defined
1 / 0
1 // 0
1 % 0
'a' + 1
'a' ~ 1 ~ none ~ true ~ [1, 'b'] ~ undefined_name ~ 1.0
'a' 'b' "c"
'ab' * 3, 3 * 'ab', [1] * 2, 'a' * 0, 'a' * -1
[1] + [2], (1,) + (2,), () , (1,), (1, 2)
[1, 2.0, 'a', none, true, [], {}, (1,)], {'a': 1, 2: 'b', none: 3}
{'a': 1, 'a': 2}
{1: 'a', true: 'b', 1.0: 'c'}
{'a': {'b': {'c': 1}}}['a'].b['c']
"it's", ["it's", 'a"b', "it's \\"x\\"", 'tab\\t', 'é', '\\u200b', '\\x00', '\\u00a0', '\\\\']
'\\x41\\u00e9\\n|\\d|\\'|\\101'
numbers
numbers | join(' ')
1.0, 100.0, 1e100, 0.30000000000000004, 1/3
-0.0, 0.1 + 0.2, 3.0 * 2
2 ** 62, 2 ** 100, -5
xs[0], xs[-1], xs[5], xs[-5]
xs[1:], xs[:-1], xs[::-1], xs[::2], xs[5:], xs[-2:], xs[2:0], xs[0:100:1]
text[2:7], text[::-1], text[0], text[-3], text[100] is defined, 'héé'[1:2]
text[1:2:0]
map[1:]
nothing[1:]
map.b, map['b'], map.a[1], map.zzz is defined, map['zzz'], map.C
map.items is callable, map['items'], map.keys() | list
map.get('b'), map.get('z'), map.get('z', 9), map.get('C', 3)
map.items() | list, map.values() | list
map.items(), map.keys(), map.values()
map | length, xs | length, text | length, 'héé' | count
map | list, text | list | length
'b' in map, 'z' in map, 2 in xs, 'lo' in text, 9 not in xs, '' in '', none in [none]
1 in 'a'
1 in 5
nothing.more
nothing['more']
nothing + 1
nothing == none, nothing == nothing2, nothing is defined, not nothing
nothing | length, nothing | list, nothing | default('d'), nothing | string, nothing ~ 'x'
nothing | join(','), nothing | trim | length, nothing | first is defined
nothing | tojson
nothing()
[nothing]
none.foo is defined, 5 .foo is defined
none.foo.bar
'' | default('e'), '' | default('e', true), '' | default('e', boolean=true), none | default('n'), none | d('n', true), 0 | default(1, boolean=false)
x.y | default('z')
rows | map(attribute='n') | join(','), rows | map(attribute='d.e.0', default='-') | join(',')
rows | map('length') | list, words | map('upper') | list, words | map('replace', 'a', 'z') | join
rows | selectattr('on') | list | length, rows | selectattr('v', 'equalto', 2) | map(attribute='n') | list
rows | rejectattr('on') | list | length, rows | rejectattr('v', 'gt', 1) | list
rows | selectattr('on', 'defined') | list | length, rows | selectattr('on', 'undefined') | list | length
xs | select('odd') | list, xs | reject('odd') | list, xs | select('>', 1) | list, [0, 1, '', 'a'] | select | list
xs | select('in', [1, 2]) | list
messages | selectattr('role', 'equalto', 'user') | list | last
messages | selectattr('role', 'in', ['user', 'system']) | map(attribute='role') | join(' ')
xs | map('string') | list, xs | map('float') | list, ['1', 'x'] | map('int') | list
xs | sort, xs | sort(reverse=true), words | sort, words | sort(case_sensitive=true), rows | sort(attribute='v') | map(attribute='n') | list
rows | sort(attribute='v,n') | map(attribute='n') | list, rows | sort(true, attribute='n') | map(attribute='v') | list
[1, 'a'] | sort
words | unique | list, [1, 1.0, true, 2] | unique | list
map | dictsort, {'b': 1, 'A': 2} | dictsort, {'b': 1, 'A': 2} | dictsort(true), {'b': 1, 'a': 2} | dictsort(by='value'), {'b': 1, 'a': 2} | dictsort(reverse=true)
rows | groupby('v'), rows | groupby('n') | list | length
xs | min, xs | max, words | max, [] | min is defined, rows | max(attribute='v')
xs | sum, rows | sum(attribute='v'), [1.5, 2] | sum, [] | sum
xs | first, xs | last, [] | first is defined, text | first, 'abc' | last, map | first
xs | reverse | list, 'abc' | reverse, (1, 2) | reverse | list
xs | batch(2) | list, xs | batch(2, 0) | list, [1,2,3,4,5] | slice(2) | list, [1,2,3,4,5] | slice(3, 'x') | list
xs | join, xs | join('-'), rows | join('-', attribute='n'), 'abc' | join('.')
'%s-%s' | format('a', 1), '%(a)s' | format(a=2), '%05.2f|%-5d|%+d|%x|%o|%e|%g|%%|%r|%5s|%c' % (3.14159, 42, 7, 255, 8, 12345.678, 0.0001, 'q', 'ab', 'z')
'%s' % 'x', '%s %s' % ('a', [1]), '%d' % 3.9, '%5.1f%%' % 99.55, '%s' % none, '%(x)d' % {'x': 5}
'%d' % 'x'
'%s %s' % 'x'
'x' % 1
'{} {}'.format(1, 'a'), '{1}{0}'.format('a', 'b'), '{a.b}'.format(a={'b': 1}), '{0[1]}'.format([1, 2]), '{{}}'.format()
'{:>5}|{:<5}|{:^5}|{:*^7}|{:05d}|{:+.2f}|{:,}|{:x}|{:#x}|{:b}|{:e}|{:%}|{:.3}'.format('a', 'b', 'c', 'd', 42, 3.14159, 1234567, 255, 255, 5, 12345.678, 0.25, 'abcdef')
'{!r:>6}'.format('a'), '{:{}}|'.format('a', 4), '{:10.3f}|{:<10.3g}|{:g}'.format(3.14159, 1234567.0, 0.00001), '{:_}'.format(1000000)
'{}'.format()
'{:d}'.format('a')
' a b '.strip(), 'xxaxx'.strip('x'), 'abc'.lstrip('ba'), 'abc'.rstrip('c'), ' a '.lstrip() ~ '|', '\\n a\\n'.rstrip('\\n') ~ '|'
'a,b,,c'.split(','), 'a  b c'.split(), 'a b c'.split(' ', 1), 'a b c'.rsplit(' ', 1), ' a  b '.split(none, 1), 'abc'.split('b')[-1], ''.split(), ''.split(',')
' a b  c '.rsplit(none, 1), 'a b c'.split(maxsplit=1), 'x'.split('')
'a\\nb\\r\\nc\\n'.splitlines(), 'a\\nb'.splitlines(true), crlf.splitlines()
'Hello'.upper(), 'HeLLo'.lower(), 'hello wOrld'.title(), 'hELLO w'.capitalize(), 'aB'.swapcase(), 'ß'.upper(), "they're".title()
'hello world-foo (bar)' | title, 'hELLO' | capitalize, 'aé' | upper, 'AÉ' | lower
'abcabc'.replace('b', 'x'), 'abcabc'.replace('b', 'x', 1), 'abc'.replace('', '-'), 'aXbX' | replace('X', 'y'), 'aXbX' | replace('X', 'y', 1), 123 | replace(2, 'x')
'abc'.startswith('ab'), 'abc'.startswith(('x', 'a')), 'abc'.endswith('c'), 'abc'.startswith('b', 1), 'abc'.endswith(('b', 'bc'))
'abcb'.find('b'), 'abcb'.rfind('b'), 'abc'.find('z'), 'abcb'.count('b'), 'ééb'.find('b'), 'abc'.index('c'), 'aXbX'.find('X', 2)
'abc'.index('z')
'-'.join(['a', 'b']), '-'.join('abc'), ''.join([]), ','.join(map.keys())
'-'.join([1])
'a-b-c'.partition('-'), 'a-b-c'.rpartition('-'), 'abc'.partition('-'), 'abc'.rpartition('-')
'abc'.removeprefix('a'), 'abc'.removesuffix('c'), 'abc'.removeprefix('z')
'a'.center(5) ~ '|', 'a'.ljust(4, '.'), 'a'.rjust(4), '42'.zfill(5), '-42'.zfill(5), 'ab' | center(7), 'abc'.center(6, '*'), 'a\\tb'.expandtabs(4)
'abc'.isalpha(), '12'.isdigit(), 'a1'.isalnum(), ' '.isspace(), 'A'.isupper(), 'a'.islower(), ''.isdigit(), 'Ab'.istitle(), '1.5'.isdecimal(), 'aB'.islower(), 'a_1'.isidentifier()
'x'.nomethod is defined
'x'.nomethod()
xs.append(1)
map.update({})
map.pop('b')
xs.append is defined, map.update is defined
xs.index(1), xs.count(2), (1, 2).index(2), xs.copy()
1.5.is_integer(), 2.0 .is_integer(), (5).bit_length()
text | trim, text | trim | length, 'xxaxx' | trim('x'), 5 | trim, none | trim
text | wordcount, text | upper | lower
'a\\nb\\n\\nc' | indent, 'a\\nb\\n\\nc' | indent(2, true), 'a\\nb\\n\\nc' | indent(2, blank=true), 'a\\nb' | indent('--'), 'a\\n' | indent(first=true) ~ '|'
'hello big world' | truncate(9), 'hello big world' | truncate(9, true), 'hello big world' | truncate(11), 'hello big world' | truncate(9, false, '..', 0)
'<a href="x">&\\'' | escape, '<' | e ~ '<', ('<' | safe) + '<', '<' + ('<' | safe), ('a' | safe) is escaped, ['<' | safe]
'a b/ü?' | urlencode
'42' | int, '4.7' | int, 'x' | int, 'x' | int(7), '0x1f' | int(0, 16), 3.9 | int, -3.9 | int, ' 5 ' | int, none | int, true | int, '1_000' | int
'1.5' | float, 'x' | float, 'x' | float(2.5), 3 | float, '1e3' | float, none | float
2.5 | round, 3.5 | round, 2.675 | round(2), 1234.5 | round(-2), 3 | round, 2.1 | round(method='ceil'), 2.19 | round(1, 'floor'), -2.5 | round, 1.005 | round(2)
-3 | abs, 2.5 | abs, true | abs
5 | string ~ 'x', 1.0 | string, none | string, [1] | string, map | string
'abc' | list, 'abc' | length, {} | length, 5 | length
xs is sequence, map is sequence, 'a' is sequence, 5 is sequence, none is sequence, nothing is sequence, map.items() is sequence
xs is mapping, map is mapping, 'a' is string, xs is string, 5 is number, true is number, 1.5 is float, 5 is integer, true is integer, 5 is float
xs is iterable, 'a' is iterable, 5 is iterable, map is iterable, none is none, nothing is none, nothing is undefined, map.b is defined
true is boolean, 1 is boolean, true is true, 1 is true, false is false, 3 is odd, 4 is even, 9 is divisibleby 3, 9 is divisibleby(2)
3 is eq 3, 3 is ne 4, 3 is lt 4, 3 is gt 4, 3 is ge(3), 'a' is in 'abc', 3 is not in [1], 'a' is sameas 'a', none is not none, 'x' is not string
'A' is upper, 'a' is lower, 'upper' is filter, 'nosuch' is filter, 'odd' is test, range is callable, xs is callable
5 is nosuchtest
5 | nosuchfilter
range(3), range(1, 4) | list, range(5, 0, -2) | list, range(0), range(3)[1], range(10)[2:4] | list, range(1, 10, 3)
range(100001) | length
dict(a=1, b='x'), dict({'a': 1}, b=2), dict([['a', 1]])
namespace(a=1, b='x').a, namespace(a=1).z is defined, namespace({'q': 2}).q
namespace(a=1)
namespace(_a=1)
raise_exception('stop here')
messages[0] | tojson, messages[1].content | tojson, messages[2].tool_calls[0] | tojson
tools | tojson, tools[0] | tojson(indent=2), tools | tojson(indent=4, ensure_ascii=true)
messages[1].content | tojson(ensure_ascii=true), messages[1].content | tojson(true), '\\x7f\\x1f</script>' | tojson, '\\x7f' | tojson(ensure_ascii=true)
map | tojson(sort_keys=true), map | tojson(separators=(',', ':')), map | tojson(separators=[', ', '=']), map | tojson(indent=0), map | tojson(indent='\\t'), map | tojson(indent=none)
[] | tojson(indent=2), {} | tojson(indent=2), [[]] | tojson(indent=2), [1, [2, {'a': 3}]] | tojson(indent=1)
numbers | tojson, [1.0, 1e16, none, true, 2 ** 70] | tojson, (1, 2) | tojson, {1: 2, none: 3, true: 4, 1.5: 5} | tojson
map.items() | tojson
range(3) | tojson
xs | map('string') | tojson
map | items | list, nothing | items | list
messages[-1].content.strip(), messages[0]['content'][:5], messages | length, messages[0].role == 'system'
messages[2].content is defined, messages[2].reasoning_content, messages[2].thinking
messages[2].tool_calls[0].function.arguments, messages[2].tool_calls[0].function.arguments.items() | list
messages[3].content | selectattr('type', 'equalto', 'text') | map(attribute='text') | join
documents, documents is none, tools is none, documents is defined, add_generation_prompt, bos_token ~ eos_token, pad_token is defined
loop is defined, caller is defined
crlf, crlf | length
'a' if nothing else 'b', 'a' if nothing is defined and nothing.x else 'b'
(xs | first) + (xs | last), xs | length - 1, 'a' ~ 1 + 2, -xs[0] ** 2, -1 | abs, not 1 == 2, 1 + 1 | string
1 .__class__ is defined, ''.__class__ is defined, map.__class__ is defined
"%s" | format(["a'b"]), ("a", ) | string, {'a': ("b",)} | string
'a,b' .split(',') | map('trim') | list, ('x' ~ 'y').upper(), ['b', 'a'] | sort | join | upper
true and 'x', '' or 'y', 0 and 1, none or 0, [] or {}, 1 and 2 and 3
{'a': 1} == {'a': 1.0}, [1, [2]] == [1.0, [2]], (1,) == [1], 'a' != 'b'
(rows | groupby('v')) | map(attribute='grouper') | list
(rows | groupby('v') | first).list | length, (rows | groupby('v') | first)[0], rows | groupby('v') | first == (1, [rows[1]])
'ß'.title(), 'ﬁx'.capitalize(), 'ßa' | capitalize, 'ǆ'.title(), 'ŉa'.title(), 'აბ'.title(), 'ΐ'.title(), 'Ǳx'.capitalize()
'²'.isdigit(), '²'.isdecimal(), '12'.isdigit(), '₃'.isdigit(), '1a'.isdigit()
1234 | round(-2), 1250 | round(-2), 1350 | round(-2), -1250 | round(-2), 5 | round(-1), 7 | round(-40), 12 | round(1)
{'a b': 1, 'c': 'é/'} | urlencode, [('a', 1), ('b', 'x y')] | urlencode, 'a b/é' | urlencode
""".strip().split("\n")

# Whole templates.
TEMPLATES = [
    "{% for m in messages %}{{ m.role }}{% if not loop.last %}, {% endif %}{% endfor %}",
    "{% for x in xs %}\n    {{ x }}\n{% endfor %}\n",
    "  {% if true %}  \n  a\n  {%- endif %}\n b",
    "{%+ if true %} a {%- endif +%}\nb\n\n",
    "a {#- c -#} b {# d #}\n  {# e #}\n f",
    "  {{- 'a' -}}  \n b {{ 'c' }}\n",
    "x\r\n{% if true %}\r\n  y\r\n{% endif %}\r\nz\r\n",
    "x\r{% if true %}\ry\r{% endif %}\r",
    "{% raw %}{{ a }}{% b %}{% endraw %}\n{%- raw -%}  {{ c }}  {%- endraw -%}  d",
    "  {% raw %} x\n  {% endraw %}\ny",
    "{{ '{%' }}{{ '}}' }}{{ {'a': {'b': 1}}['a']['b'] }}",
    "{% set x = 1 %}{% for i in xs %}{% set x = x + i %}{{ x }} {% endfor %}{{ x }}",
    "{% set ns = namespace(n=0) %}{% for i in xs %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}",
    "{% if true %}{% set y = 2 %}{% endif %}{{ y }}{% if false %}{% set z = 3 %}{% endif %}{{ z is defined }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c = 1, %}{{ c }}{% set (d, e) = [3, 4] %}{{ d + e }}",
    "{% set a, b = [1] %}",
    "{% set t %} x {{ 1 }} {% endset %}[{{ t }}]{% set u | upper | trim %} abc {% endset %}[{{ u }}]",
    "{% for i in xs %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.previtem is defined }}{{ loop.nextitem }} {% endfor %}",
    "{% for i in xs %}{{ loop.cycle('a', 'b') }}{{ loop.changed(i > 1) }}{% endfor %}",
    "{% for i in [] %}x{% else %}none{% endfor %}{% for i in [1] %}x{% else %}none{% endfor %}",
    "{% for i in xs if i > 1 %}{{ loop.index }}:{{ i }}/{{ loop.length }} {% endfor %}",
    "{% for i in xs %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% if loop.index == 2 %}{% break %}{% endif %}{% endfor %}",
    "{% for i in xs %}{% for j in xs %}{% if j == 1 %}{% break %}{% endif %}{{ i }}{{ j }} {% endfor %}{{ loop.index }};{% endfor %}",
    "{% for k, v in map.items() %}{{ k }}={{ v }};{% endfor %}{% for k in map %}{{ k }}{% endfor %}",
    "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}{% endfor %}",
    "{% for c in 'abc' %}{{ c }}-{% endfor %}{% for x in nothing %}{% endfor %}",
    "{% for x in none %}{% endfor %}",
    "{% for x in 5 %}{% endfor %}",
    "{% for r in [{'n': 1, 'c': [{'n': 2, 'c': []}]}] recursive %}{{ r.n }}{{ loop.depth }}[{{ loop(r.c) }}]{% endfor %}",
    "{% macro f(a, b=2, c='x') %}{{ a }}{{ b }}{{ c }};{% endmacro %}{{ f(1) }}{{ f(1, c=3) }}{{ f(b=1, a=0) }}{{ f(1, 2, 3) }}{{ f() }}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(b=2) }}",
    "{% macro f() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, x=3) }}{{ f.name }}",
    "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}",
    "{% macro f() %}{{ caller('x') }}{{ caller is defined }}{% endmacro %}{% call(a) f() %}<{{ a }}>{% endcall %}",
    "{% macro f(x=1, y=x + 1) %}{{ x }}{{ y }}{% endmacro %}{{ f() }}{{ f(5) }}",
    "{% set g = 1 %}{% macro f() %}{{ g }}{{ messages | length }}{% set g = 5 %}{{ g }}{% endmacro %}{{ f() }}{{ g }}{% set g = 2 %}{{ f() }}",
    "{% macro f() %}{{ late }}{% endmacro %}{% set late = 7 %}{{ f() }}",
    "{% macro f() %}{{ i }}{% endmacro %}{% for i in xs %}{{ f() }}{% endfor %}",
    "{% for i in xs %}{% macro f() %}{{ i }}{% endmacro %}{{ f() }}{% endfor %}",
    "{% macro f() -%}\n  text\n{%- endmacro %}[{{ f() }}][{{ f() | upper }}][{{ f() ~ 'x' }}]",
    "{% macro f(tool) %}{% for k, v in tool.items() %}{{ k }}:{% if v is mapping %}{{ f(v) }}{% else %}{{ v }}{% endif %},{% endfor %}{% endmacro %}{{ f(tools[0]) }}",
    "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% set a = 3 %}{{ a }}{% endwith %}{{ a is defined }}",
    "{% filter upper %}a{{ 'b' }}{% endfilter %}{% filter replace('a', 'z') | trim %} aa {% endfilter %}",
    "{% generation %}{{ 1 }}{% set v = 2 %}{{ v }}{% endgeneration %}{{ v is defined }}",
    "{% for m in messages %}{% if m.role == 'user' %}U:{{ m.content }}{% elif m.role == 'assistant' %}\n{%- generation %}\nA\n{% endgeneration %}\n{% else %}O{% endif %}\n{% endfor %}",
    "{% block a %}x{% set b = 1 %}{% endblock %}{{ b is defined }}",
    "{% autoescape false %}{{ '<' }}{% endautoescape %}",
    "{% print 1, 'a' %}",
    "{% if 0 %}a{% elif 1 %}b{% else %}c{% endif %}{% if none %}{% else %}d{% endif %}{% if xs and not nothing %}e{% endif %}",
    "{% set it = xs | map('string') %}{{ it | list }}{{ it | list }}{% if it %}yes{% endif %}",
    "{% set it = xs | select('odd') %}{{ it | length }}",
    "{% set it = xs | reverse %}{{ it | first }}{% for i in it %}{{ i }}{% endfor %}",
    "{{ messages[0].nothing.more }}",
    "{% if messages[0].nothing.more %}{% endif %}",
    "{% set messages = messages[1:] %}{{ messages[0].role }}{% set loop_messages = messages %}{{ loop_messages | length }}",
    "{% set ns = namespace(found=false, list=[]) %}{% for m in messages %}{% if m.role == 'user' and not ns.found %}{% set ns.found = true %}{% set ns.list = ns.list + [m.role] %}{% endif %}{% endfor %}{{ ns.found }}{{ ns.list }}",
    "{% set ns.x = 1 %}",
    "{% set map.x = 1 %}",
    "{% set true = 1 %}",
    "{% set ns = namespace() %}{% set ns._x = 1 %}",
    "{% include 'x' %}",
    "{% extends 'x' %}",
    "{% import 'x' as y %}",
    "{% do 1 %}",
    "{% if 1 %}",
    "{% endif %}",
    "{{ 1",
    "{{ 'a }}",
    "{% break %}",
    "{{ (1, 2 }}",
    "{{ 1 2 }}",
    "{# unending",
    "{% raw %} unending",
    "{% for x %}{% endfor %}",
    "{% macro f(a=1, b) %}{% endmacro %}",
    "{{ f(a=1, 2) }}",
    "{{ ''.join(['a'] + ['b'] * 2) }}{{ xs[messages | length - 4] }}{{ xs[-1:][0] }}",
    "{{ messages[0].content if messages[0].role == 'system' else 'none' }}",
    "{%- for m in messages -%}\n    {%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) -%}\n        {{- m.role -}}\n    {%- endif -%}\n{%- endfor -%}\n",
    "{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n' }}\n{%- endif %}\n",
    "{{ bos_token }}{% for m in messages %}{{ '<|' + m['role'] + '|>\\n' + (m['content'] if m['content'] is string else '') + eos_token + '\\n' }}{% endfor %}",
    "{% set f = '%d' % 5 %}{{ f }}{{ '%s' % map.b }}{{ dict(a=[1]).a[0] }}",
    "{{ range(3) | map('string') | join(',') }}{% for i in range(messages | length - 1, -1, -1) %}{{ i }}{% endfor %}",
    "{{ messages | map(attribute='role') | unique | join(',') }}{{ messages | map(attribute='role') | list | length }}",
    "{{ '\\n' if true }}{{ \"\\n\" }}|\n\n{{ 'x' }}\n\n",
    "{% for i in range(3) -%}\n  {{ i }}\n{%- endfor %}",
    "{%- macro m(x) %}\n{{- x }}\n{%- endmacro -%}\n{{ m('a') }}\n{{ m('b') }}\n",
    "{{ strftime_now('%%|%') }}{{ strftime_now('') }}{{ strftime_now('%z%Z') }}",
    "{% set m = messages[2] %}{{ m.tool_calls[0]['function']['arguments'] | tojson }}{{ m | tojson }}",
    "{{ messages[0]['role'] in ['system', 'user'] and messages[0].content is not none }}",
    "{{ m }}{% for m in messages %}{% endfor %}{{ m is defined }}",
    "{% for message in messages %}{% set content = message.content %}{% if content is string %}{{ content | trim }}{% elif content is iterable and content is not none %}{% for p in content %}{{ p.text if p.type == 'text' else '<' ~ p.type ~ '>' }}{% endfor %}{% endif %};{% endfor %}",
    "{% for x in xs %}{{ x }}{% break %}{% else %}none{% endfor %}|{% for x in xs %}{% if x == 2 %}{{ x }}{% else %}{% continue %}{% endif %}{% else %}none{% endfor %}|{% for x in xs %}{% continue %}{% else %}none{% endfor %}|{% for x in xs if x > 5 %}{% else %}none{% endfor %}",
]


def rendered(template):
    variables = json.loads(json.dumps(VARIABLES))
    messages = _normalize_chat_messages(variables.pop("messages"))
    try:
        return render_jinja_template([messages], chat_template=template, **variables)[0][0]
    except Exception:  # whatever it is, the reference refuses
        return None


def main():
    templates = ["{{ " + expression + " }}" for expression in EXPRESSIONS] + TEMPLATES
    rows = [[template, rendered(template)] for template in templates]
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    variables = json.dumps(VARIABLES, ensure_ascii=False)
    OUTPUT.write_text(f"[{json.dumps(variables, ensure_ascii=False)},\n[\n{lines}\n]]\n", encoding="utf-8")
    print(len(rows), "templates, of which", sum(text is None for _, text in rows), "refused")


main()
