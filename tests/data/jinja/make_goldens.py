"""Render the snippets below as transformers renders chat templates; write cases.json.

    python3 make_goldens.py OUT/cases.json          (needs transformers 5, jinja2)"""
import json, sys
import transformers.utils.chat_template_utils as ctu

CONTEXT = {
    "s": "Hello, wörld!", "blank": "  x y  \n", "n": 7, "neg": -7, "f": 2.5, "big": 1e20, "small": 1.5e-7, "yes": True, "no": False, "nil": None,
    "l": [3, 1, 2], "words": ["b", "A", "c", "a"], "empty": [], "d": {"b": 1, "a": 2, "nested": {"k": [1, {"z": None}]}},
    "users": [{"name": "Ann", "age": 30, "tags": ["x"]}, {"name": "bob", "age": 25}, {"name": "Cy", "age": 30, "tags": []}],
    "quote": "it's \"quoted\" \\ <b>&", "multi": "one\ntwo\n\nthree", "emoji": "a😀b", "tab": "a\tb\x01\x7f\u2028",
    "messages": [{"role": "system", "content": " S "}, {"role": "user", "content": "U1"}, {"role": "assistant", "content": "A1"}, {"role": "user", "content": "U2"}],
    "schema": {"type": "object", "properties": {"city": {"type": "string", "enum": ["a", "b"], "minimum": 0.5}}, "required": ["city"]},
}
S = [
 # printing
 "{{ n }} {{ f }} {{ big }} {{ small }} {{ yes }} {{ nil }} {{ 1.0 }} {{ 100000000000000000000.0 }} {{ 0.1 + 0.2 }} {{ 1e16 }} {{ 123456789012345.0 }}",
 "{{ l }} {{ words }} {{ d }} {{ (1, 'a') }} {{ (1,) }} {{ () }} {{ {} }} {{ [] }} {{ [quote, emoji, tab] }}",
 "{{ missing }}|{{ d.missing }}|{{ d['missing'] }}|{{ l[10] }}|{{ s.nothing }}",
 "{{ missing.deeper }}", "{{ missing + 1 }}", "{{ nil.x }}|", "{{ nil['x'] }}|", "{{ missing() }}", "{{ s() }}", "{{ 1 / 0 }}", "{{ 'a' + 1 }}", "{{ 1 + 'a' }}", "{{ 'a' < 1 }}", "{{ -s }}",
 # whitespace control
 "a\n{% if yes %}\nb\n{% endif %}\nc", "a  {%- if yes -%}  b  {%- endif -%}  c", "  {% if yes %}x{% endif %}\n  y", "a\n  {%+ if yes %}x{% endif +%}\n b",
 "x {# c #} y\n{# whole line #}\nz", "x {#- c -#} y", "{{- s -}}  z", "  {{ s }}\n\n", "a\n\n", "\n\n{% if yes %}\n\n  t\n{% endif %}\n\n", "{% raw %}{{ x }}{% if %}{% endraw %}!", "{%- raw -%}  a  {%- endraw -%} b",
 "a\r\nb\rc\n", "\t{% set x = 1 %}\t{{ x }}", "{% for i in l %}\n  {{ i }}\n{% endfor %}\n", "{% for i in l -%}\n  {{ i }},\n{%- endfor %}",
 # operators
 "{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 2.5 // 1 }} {{ -2.5 % 2 }} {{ 7 // 2.0 }}",
 "{{ 1 + 2 * 3 - 4 / 2 }} {{ (1 + 2) * 3 }} {{ -2 ** 2 }} {{ 2 ** 3 ** 2 }} {{ - 3 + 1 }} {{ not yes }} {{ not no and yes }}",
 "{{ 'a' ~ 1 ~ nil ~ [1] }} {{ 'ab' * 3 }} {{ 3 * 'ab' }} {{ [1] * 2 }} {{ [1] + [2] }} {{ 'x' 'y' }} {{ (1,) + (2,) }}",
 "{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 }} {{ 'a' == 'a' }} {{ [1] == [1.0] }} {{ yes == 1 }} {{ nil == no }} {{ 'a' != 'b' }} {{ [1,2] < [1,3] }} {{ 'a' < 'b' }}",
 "{{ 1 in l }} {{ 9 not in l }} {{ 'ell' in s }} {{ 'b' in d }} {{ 'z' not in d }} {{ '' in s }} {{ 1 in missing }} {{ 'x' in users[0].tags }}",
 "{{ 1 in s }}", "{{ 1 in 5 }}", "{{ 'y' if yes }}|{{ 'y' if no }}|{{ 'y' if no else 'z' }}|{{ 'a' if no else 'b' if no else 'c' }}",
 "{{ nil or 'x' }} {{ 0 or [] or 'last' }} {{ 1 and 2 }} {{ 0 and x.y.z }} {{ yes or x.y.z }}", "{{ '%s is %d' % ('a', 3) }} {{ '%.2f' % f }} {{ '%05d|%x' % (n, 255) }}",
 # indexing, slices
 "{{ l[0] }}{{ l[-1] }} {{ s[0] }}{{ s[-1] }}{{ s[8] }} {{ emoji[1] }} {{ l.0 }} {{ d.nested.k[1].z }} {{ d['nested']['k'][0] }} {{ (1,2)[1] }}",
 "{{ l[1:] }} {{ l[:-1] }} {{ l[::-1] }} {{ s[1:4] }} {{ s[::-1] }} {{ s[-3:] }} {{ l[5:] }} {{ l[::2] }} {{ emoji[::-1] }} {{ s[7:8] }} {{ l[-100:2] }} {{ s[10:2:-3] }} {{ l[nil:nil] }}",
 "{{ l['a'] }}|{{ d[nil] }}|{{ d[0] }}|{{ s['x'] }}", "{{ d.items }}" if False else "{{ d.items()|list }}", "{{ {'items': 1}.items }}" if False else "{{ {'items': 1}['items'] }}",
 # loops
 "{% for i in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }} {% endfor %}",
 "{% for i in l %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem }} {% endfor %}", "{% for i in l %}{{ loop.cycle('a', 'b') }}{{ loop.changed(i > 1) }}{% endfor %}{{ loop }}",
 "{% for i in empty %}x{% else %}none{% endfor %}", "{% for i in l if i > 1 %}{{ i }}:{{ loop.length }}{% else %}none{% endfor %}", "{% for i in l if i > 10 %}x{% else %}none{% endfor %}",
 "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k in d %}{{ k }}{% endfor %}", "{% for c in emoji %}[{{ c }}]{% endfor %}", "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
 "{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}", "{% for i in l %}{% for j in l %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}",
 "{% for i in missing %}x{% endfor %}ok", "{% for i in 5 %}x{% endfor %}", "{% for i in nil %}x{% endfor %}", "{% for a, b in [(1, 2, 3)] %}{% endfor %}", "{{ range(5)|list }} {{ range(1, 4)|list }} {{ range(5, 0, -2)|list }} {{ range(0)|list }}",
 "{% for i in range(3) if i is odd %}{{ i }}{% endfor %}", "{% for m in messages[1:] %}{{ loop.index0 }}{{ m.role }}{% endfor %}",
 # scope
 "{% set x = 1 %}{% for i in l %}{% set x = i %}{% endfor %}{{ x }}", "{% set x = 1 %}{% if yes %}{% set x = 2 %}{% endif %}{{ x }}", "{% set ns = namespace(x=0, l=[]) %}{% for i in l %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}",
 "{% set ns = namespace() %}{% set ns.a = 'q' %}{{ ns.a }}|{{ ns.b }}|{{ ns.b is defined }}", "{% set d.x = 1 %}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a = 1, 2 %}{{ a }}", "{% set t %}x{{ n }}y{% endset %}[{{ t }}]", "{% set t | upper | trim %} abc {% endset %}[{{ t }}]",
 "{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a }}", "{% filter upper %}abc{{ s }}{% endfilter %}", "{% for i in l %}{% if loop.first %}{% set y = i %}{% endif %}{{ y }}{% endfor %}",
 "{% set ns = namespace(found=false) %}{% for m in messages %}{% if m.role == 'user' and not ns.found %}{% set ns.found = true %}{{ m.content }}{% endif %}{% endfor %}",
 # macros
 "{% macro m(a, b=2, c='x') %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }}|{{ m(1, 3) }}|{{ m(1, c='z') }}|{{ m() }}", "{% macro m(a) %}[{{ a }}{{ caller() }}]{% endmacro %}{% call m(1) %}body{{ n }}{% endcall %}",
 "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, k=3) }}", "{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}", "{%- macro m(x) -%}\n  {{ x }}\n{%- endmacro -%}\n<{{ m('q') }}>",
 "{% macro list(x) %}{% for i in x %}{{ caller(i) }}{% endfor %}{% endmacro %}{% call(i) list(l) %}({{ i }}){% endcall %}", "{% set x = 5 %}{% macro m() %}{{ x }}{% endmacro %}{% set x = 6 %}{{ m() }}", "{% macro a() %}A{% endmacro %}{{ a() | lower }}{{ (a() ~ 'b') | length }}",
 "{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(3) }}", "{% macro r(l, depth=0) %}{% for x in l %}{{ depth }}{% if x is iterable and x is not string %}{{ r(x, depth + 1) }}{% else %}{{ x }}{% endif %}{% endfor %}{% endmacro %}{{ r([1, [2, [3]], 4]) }}",
 # filters
 "{{ s|upper }} {{ s|lower }} {{ 'hello world-foo bar_baz'|title }} {{ 'hELLO wORLD'|capitalize }} [{{ blank|trim }}] [{{ 'xxaxx'|trim('x') }}] {{ s|length }} {{ emoji|length }} {{ l|count }}",
 "{{ s|replace('l', 'L') }} {{ s|replace('l', 'L', 1) }} {{ s|replace('', '-') }} {{ 'aaa'|replace('aa', 'b') }} {{ n|replace('7', '8') }}",
 "{{ l|first }} {{ l|last }} {{ empty|first }}| {{ s|first }}{{ s|last }} {{ l|join }} {{ l|join(', ') }} {{ users|join('-', attribute='name') }} {{ [1, nil, 'a']|join('/') }}",
 "{{ l|sort }} {{ l|sort(reverse=true) }} {{ words|sort }} {{ words|sort(case_sensitive=true) }} {{ users|sort(attribute='age')|map(attribute='name')|list }} {{ users|sort(attribute='age', reverse=true)|map(attribute='name')|list }}",
 "{{ words|unique|list }} {{ [1, 2, 1]|unique|list }} {{ l|reverse|list }} {{ s|reverse }} {{ l|sum }} {{ users|sum(attribute='age') }} {{ l|min }} {{ l|max }} {{ words|max }} {{ users|map(attribute='age')|unique|list }}",
 "{{ users|map(attribute='tags', default='none')|list }} {{ words|map('upper')|list }} {{ words|map('upper')|join }} {{ [' a ']|map('trim')|list }} {{ users|map(attribute='tags.0')|list }} {{ ['a1']|map('replace', '1', '2')|list }}",
 "{{ l|select('odd')|list }} {{ l|reject('odd')|list }} {{ l|select('gt', 1)|list }} {{ [0, 1, '', 'a', nil]|select|list }} {{ [0, 1]|reject|list }} {{ l|select('in', [1, 2])|list }}",
 "{{ users|selectattr('age', 'equalto', 30)|map(attribute='name')|list }} {{ users|selectattr('tags')|list|length }} {{ users|rejectattr('tags', 'defined')|map(attribute='name')|list }} {{ users|selectattr('name', '==', 'bob')|first }}",
 "{{ missing|default('D') }} {{ nil|default('D') }} {{ nil|default('D', true) }} {{ ''|d('E', boolean=true) }} {{ missing|default }}| {{ d.x|default(5) }} {{ 0|default(3) }}",
 "{{ '42'|int }} {{ 'x'|int }} {{ 'x'|int(5) }} {{ 3.9|int }} {{ '3.7'|int }} {{ 'ff'|int(0, 16) }} {{ '2.5'|float }} {{ 'x'|float }} {{ yes|int }} {{ ' 12 '|int }} {{ nil|int(1) }}",
 "{{ n|string ~ 'x' }} {{ l|string }} {{ s|list }} {{ d|list }} {{ d|items|list }} {{ d|dictsort }} {{ d|length }} {{ -3|abs }} {{ neg|abs }} {{ 2.5|round }} {{ 3.14159|round(2) }} {{ 2.1|round(method='ceil')|int }} {{ 7|round }}",
 "{{ multi|indent }}", "{{ multi|indent(2, first=true) }}", "{{ multi|indent(2, true, true) }}", "{{ multi|indent('> ') }}", "{{ (multi ~ '\n')|indent(1) }}|", "{{ quote|escape }} {{ quote|e }} {{ quote|safe }}", "{{ '%s-%s'|format('a', 1) }}",
 "{{ l|batch(2)|list }} {{ l|batch(2, 'z')|list }} {{ users|groupby('age')|list|length }}{% for g, us in users|groupby('age') %}{{ g }}:{{ us|length }} {% endfor %}", "{{ s|nofilter }}", "{{ s is notest }}", "{{ l|upper }}", "{{ 5|first }}", "{{ n|length }}", "{{ nil|length }}", "{{ missing|upper }}|{{ missing|length }}|{{ missing|list }}|{{ missing|join }}",
 # tojson
 "{{ d|tojson }}", "{{ d|tojson(indent=2) }}", "{{ schema|tojson(indent=4) }}", "{{ [quote, emoji, tab, 'é', 1.0, 1e20, nil, yes, [], {}]|tojson }}", "{{ [emoji, 'é']|tojson(ensure_ascii=true) }}", "{{ d|tojson(sort_keys=true) }}", "{{ d|tojson(separators=(',', ':')) }}", "{{ {1: 2, nil: 3, 'a': (1, 2)}|tojson }}", "{{ missing|tojson }}", "{{ [[], {}]|tojson(indent=2) }}", "{{ s|tojson }} {{ n|tojson }} {{ [1,[2,{'a':[]}]]|tojson(indent=1) }}",
 # tests
 "{{ s is defined }}{{ missing is defined }}{{ missing is undefined }}{{ nil is none }}{{ s is none }}{{ yes is boolean }}{{ 1 is boolean }}{{ yes is true }}{{ no is false }}{{ 1 is true }}",
 "{{ n is integer }}{{ yes is integer }}{{ f is float }}{{ n is number }}{{ yes is number }}{{ s is string }}{{ d is mapping }}{{ l is mapping }}{{ l is iterable }}{{ s is iterable }}{{ n is iterable }}{{ d is sequence }}{{ l is sequence }}{{ n is sequence }}{{ s is sequence }}",
 "{{ n is odd }}{{ n is even }}{{ n is divisibleby 7 }}{{ n is divisibleby(2) }}{{ 'abc' is lower }}{{ 'ABC' is upper }}{{ n is eq 7 }}{{ n is equalto(7) }}{{ n is ne 3 }}{{ n is gt 3 }}{{ n is in [7] }}{{ 'e' is in s }}{{ n is sameas n }}{{ n is not none }}{{ not n is none }}{{ range is callable }}",
 "{% if n is defined and n is not none and n > 3 %}ok{% endif %}{% if messages[0]['role'] == 'system' %}sys{% elif x %}{% else %}no{% endif %}", "{{ missing is none }}{{ d.x is defined }}{{ d.a is defined }}{{ d['nested'].q is not defined }}{{ missing is string }}{{ missing is iterable }}{{ missing is mapping }}",
 # methods
 "{{ s.upper() }} {{ blank.strip() }}|{{ blank.lstrip() }}|{{ blank.rstrip() }}| {{ 'xyx'.strip('x') }} {{ 'a,b,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a,b,c'.split(',', 1) }} {{ 'a b c'.split(maxsplit=1) }} {{ 'a,b,c'.rsplit(',', 1) }} {{ multi.splitlines() }} {{ ''.split(',') }} {{ ''.split() }}",
 "{{ s.startswith('Hell') }}{{ s.endswith('!') }}{{ s.startswith(('x', 'H')) }}{{ s.find('w') }}{{ s.find('z') }}{{ s.rfind('l') }}{{ s.count('l') }}{{ s.index('e') }}{{ '12'.isdigit() }}{{ 'a1'.isalpha() }}{{ ' '.isspace() }}{{ 'A'.isupper() }}",
 "{{ ', '.join(words) }} {{ s.replace('l', 'r') }} {{ s.replace('l', 'r', 1) }} {{ 'hello world'.title() }} {{ 'hELLO'.capitalize() }} {{ 'prefix-x'.removeprefix('prefix-') }} {{ 'x.py'.removesuffix('.py') }} {{ 'ß'.lower() }}",
 "{{ d.get('a') }}{{ d.get('zz') }}{{ d.get('zz', 'def') }}{{ d.keys()|list }}{{ d.values()|list|length }}{{ l.index(2) }}{{ l.count(1) }}{{ users[1].get('tags', [])|length }}", "{{ l.append(4) }}", "{{ d.update({'x': 1}) }}", "{{ d.pop('a') }}", "{{ s.index('zzz') }}", "{{ s.nosuch() }}", "{{ '</think>' in 'a</think>b' }}{{ 'a</think>b'.split('</think>')[-1] }}{{ 'a<think>q</think>b'.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') }}",
 # globals, errors
 "{{ raise_exception('boom ' ~ n) }}", "{% if yes %}{{ raise_exception('nested') }}{% endif %}", "{{ strftime_now('%Y') | length }}", "{{ dict(a=1, b=2) }} {{ dict({'q': 1}, r=2) }} {{ namespace(a=1).a }}", "{% generation %}gen{{ n }}{% endgeneration %}", "{% if yes %}", "{% endif %}", "{{ 1 + }}", "{% for %}{% endfor %}", "{{ 'unclosed }}", "{# unclosed", "{% unknown %}", "{{ a b }}", "{% set 1 = 2 %}", "{{ (1 }}", "{% if yes %}a{% endfor %}",
 "{{ \"a\\nb\\t\\x41\\u00e9\" }}{{ 'it\\'s' }}", "{{ 1_000 }} {{ 1.5e3 }} {{ 0.5 }}", "{{ [1, 2,] }} {{ {'a': 1,} }} {{ {'a': {'b': [1]}}.a.b[0] }}", "{{ true }}{{ True }}{{ false }}{{ none }}{{ None }}",
 "{%- for message in messages %}{%- if loop.first and message.role == 'system' %}{{- '<<' ~ message.content|trim ~ '>>' }}{%- elif (message['role'] == 'user') != (loop.index0 % 2 == 1) %}{{- raise_exception('roles must alternate') }}{%- else %}{{- '[' + message.role + ']' + message['content'] + eos_token }}{%- endif %}{%- endfor %}",
 "{{ messages|selectattr('role', 'equalto', 'user')|map(attribute='content')|join('+') }} {{ (messages|last).content }} {{ messages[-1]['content'][0] }} {{ messages|length - 1 }}", "{% set parts = [] %}{% for m in messages %}{% set parts = parts + [m.role] %}{% endfor %}{{ parts }}", "{{ 'a' in ['a'] and 'b' not in ['a'] or no }}", "{{ (messages | rejectattr('role', 'in', ['system', 'user']) | list)[0].content }}",
]
cases = []
for src in S:
    case = {"template": src}
    try:
        t = ctu._compile_jinja_template(src)
        case["text"] = t.render(eos_token="</s>", **CONTEXT)
    except Exception as e:
        case["error"] = f"{type(e).__name__}: {e}"
    cases.append(case)
json.dump({"context": CONTEXT, "cases": cases}, open(sys.argv[1], "w"), indent=0, ensure_ascii=True)
print(len(cases), sum("error" in c for c in cases))
for c in cases:
    if "error" in c: print(c["error"][:90], "<-", c["template"][:60])
