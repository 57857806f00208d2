// Random Lua programs, the same for the same seed. They end, and what they print depends on nothing but the language: numbers with their
// subtype, tables by key, errors with their texts. They are made from templates, in which `$` and a letter stand for something random.

/** A small generator of random numbers (mulberry32). */
export function chance(seed: number): (bound: number) => number {
  let state = seed >>> 0
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * bound)
  }
}

/** Global functions that all programs share. */
export const PRELUDE = `
local type, mathtype, format, next, rawget, sort, concat = type, math.type, string.format, next, rawget, table.sort, table.concat
local select, print, tostring, setmetatable, error, sub = select, print, tostring, setmetatable, error, string.sub
local depth = 0
function show(v)
  local t = mathtype(v)
  if t == "integer" then return "i" .. format("%d", v) end
  if t == "float" then
    if v ~= v then return "fnan" end
    return "f" .. format("%.14g", v)
  end
  t = type(v)
  if t == "string" then return "s" .. (#v > 300 and #v .. ":" .. sub(v, 1, 300) or v) end
  if t == "table" then
    depth = depth + 1
    if depth > 3 then depth = depth - 1 return "deep" end
    local keys, out = {}, {}
    for k in next, v do
      t = type(k)
      if t ~= "table" and t ~= "function" and t ~= "thread" then keys[#keys + 1] = t .. show(k) out[t .. show(k)] = k end
    end
    sort(keys)
    for i = 1, #keys do keys[i] = sub(keys[i], 1, 60) .. "=" .. show(rawget(v, out[keys[i]])) end
    depth = depth - 1
    return "{" .. concat(keys, ",") .. "}"
  end
  if t == "function" or t == "thread" then return t end
  return tostring(v)
end
function out(...)
  depth = 0
  local parts = {}
  for i = 1, select("#", ...) do parts[i] = show((select(i, ...))) end
  print(concat(parts, " "))
end
local count = 0
function reset() count = 0 end
function tick() count = count + 1 if count > 60 then error("enough", 0) end end
function lim(v, ...) if type(v) == "string" and #v > 200 then v = sub(v, 1, 200) end return v, ... end
mt = {}
mt.__index = function(t, k) if type(k) == "string" then return k .. "?" end return rawget(t, "n") end
mt.__newindex = function(t, k, v) if k ~= k or k == nil then error("key", 2) end rawset(t, k, v) end
mt.__add = function(a, b) return type(a) == "table" and rawget(a, "n") or b end
mt.__sub = function(a, b) return nil end
mt.__mul = function(a, b) return coroutine.isyieldable() and coroutine.yield("mul") or 3 end
mt.__concat = function(a, b) return lim((type(a) == "table" and "T" or tostring(a)) .. (type(b) == "table" and "T" or tostring(b))) end
mt.__eq = function(a, b) return rawget(a, "n") == rawget(b, "n") end
mt.__lt = function(a, b) return (type(a) == "table" and 1 or a) < (type(b) == "table" and 2 or b) end
mt.__le = function(a, b) return not (b < a) end
mt.__len = function(t) return 42 end
mt.__call = function(self, a, ...) return a, select("#", ...) end
mt.__unm = function(a) return "neg" end
mt.__shl = function(a, b) error({ code = 7 }) end
mt.__band = function(a, b) return a end
function object(n) return setmetatable({ n = n }, mt) end
function lesser(n) return setmetatable({ n = n }, { __lt = function(a, b) return rawget(a, "n") < rawget(b, "n") end }) end
class = {} class.__index = class
function class.new(v) return setmetatable({ v = v }, class) end
function class:add(n) self.v = self.v + n return self end
function class:get() return self.v end
sub_ = setmetatable({}, { __index = class }) sub_.__index = sub_
function sub_.new(v) local o = class.new(v) return setmetatable(o, sub_) end
function sub_:get() return self.v * 2 end
`

const NUMBERS = '0 1 2 3 -1 7 10 255 0.5 2.0 -3.25 1e3 1e15 0.1 1e300 2^53 100 -0.0 1.0 -2 5 64 -7'.split(' ')
const LARGE = [
  'math.maxinteger',
  'math.mininteger',
  'math.maxinteger - 1',
  'math.mininteger + 1',
  '0x7fffffff',
  '0xffffffff',
  '9007199254740991',
  '9007199254740992',
  '9007199254740993',
  '-9007199254740993',
  '(1 << 62)',
  '(1 << 63)',
  '-2147483648',
  '2147483648',
  '2.0^63',
  '-(2.0^63)',
  '2.0^62',
  '9007199254740993.0',
  '1e308',
  '5e-324',
  '(1/0)',
  '(-1/0)',
  '-(0/0)',
]
const STRINGS = [
  '""',
  '"a"',
  '"abc"',
  '"10"',
  '"0x10"',
  '" 7 "',
  '"1e1"',
  '"-0"',
  '"9223372036854775808"',
  '"0x7fffffffffffffff"',
  '"x,y,z"',
  '"hello world"',
  '"\\0\\255"',
  '"%d"',
  '"a.b-c"',
  '"  key = value  "',
  '"\\n\\t"',
  '"[[x]]"',
  '"(a(b)c)"',
]
/** Without a number beyond 64 bits, which `%d` writes here. */
const WHOLE_TEXTS = STRINGS.filter((text) => text !== '"9223372036854775808"')
const OTHERS = ['nil', 'true', 'false', '{}', '{ 1, 2, 3 }', 'object(3)', 'lesser(2)', 'print', '{ x = 1, y = 2 }']

/** Operands that no statement may change or that are made anew. */
const EXPRESSIONS = [
  '($e $A $e)',
  '($e $A $e)',
  '($e $A $e)',
  '($n $A $n)',
  '($e $B $e)',
  '($n $B $n)',
  '($e $C $e)',
  '($n $C $n)',
  '($e and $e)',
  '($e or $e)',
  '(not $e)',
  '(-$e)',
  '(~$e)',
  '(#$e)',
  '($e .. $e)',
  '($s .. $n .. $s)',
  'lim($e .. $e .. $e)',
  '(($lfunction(p) return $e $>end)($e))',
  '($e).x',
  '($e)[$e]',
  '({ $e, x = $e, [$k] = $e, $e })[$k]',
  '#{ 1, $e, 3 }',
  '(...)',
  'select("#", ...)',
  '(select(2, ...))',
  '$f($e, $e)',
  '($f($e, $e))',
  '$f()',
  '$v',
  '$v',
  '$v.x',
  '$v[1]',
  // the library
  'math.floor($e)',
  'math.ceil($n)',
  'math.tointeger($e)',
  'math.type($e)',
  'math.abs($n)',
  'math.max($n, $n)',
  'math.min($n, $n, $e)',
  'math.fmod($n, $n)',
  'math.modf($n)',
  'math.ult($n, $n)',
  'math.sqrt($n)',
  'tostring($e == $e)',
  'tostring($o)',
  'tonumber($e)',
  'tonumber($s, $i)',
  'type($e)',
  'rawequal($e, $e)',
  'rawget($e, $e)',
  'select($e, $e, $e)',
  'pcall(error, $e)',
  'pcall(error, $e, $i)',
  'pcall($e, $e)',
  'string.rep($s, $i)',
  'string.rep($s, $i, $s)',
  'string.sub($s, $e, $e)',
  'string.sub($s, $n)',
  '($s):sub($i, $j)',
  'string.byte($s, $i)',
  'string.byte($s, $j, $i)',
  'string.char($i, $i)',
  'string.upper($s)',
  'string.reverse($s)',
  'string.len($e)',
  '#$s',
  'string.format($q)',
  'string.format($q)',
  'string.format("%s|%s", $e)',
  'string.format("%q", $F)',
  'string.find($s, $P)',
  'string.find($s, $s, $j, true)',
  'string.find($S, $P, $j)',
  'string.match($S, $P)',
  'string.match($s, $P, $i)',
  'string.gsub($S, $P, $s)',
  'string.gsub($S, $P, $s, $i)',
  'string.gsub($S, $P, "<%0%1>")',
  'string.gsub($S, $P, { a = "A", b = 1, x = false })',
  'string.gsub($S, $P, $lfunction(a, b) return $e $>end)',
  'string.pack($K)',
  'string.packsize("$Z$Z$Z")',
  'string.unpack("$Z$Z", string.pack($K))',
  'string.unpack("$Z", $S)',
  'table.concat({ 1, 2, $e }, "-")',
  'table.concat({ $o, $o, $o }, $s, $i, $i)',
  'table.unpack({ 1, $e, 3 }, $i, $i)',
  'table.unpack({ $e, $e })',
  '(table.unpack({ 1, $e, 3 }, 2, 3))',
  'table.pack($e, $e).n',
  'next({})',
  'object($e)($e)',
  'object($e) $A $e',
  'sub_.new($e):add($e):get()',
  'class.new($e):get()',
  'setmetatable({ $e }, { __index = function(t, k) return k end })[$e]',
  'getmetatable(object(1)).__len',
]

/** `$1` … are fresh names, `$b` statements inside. */
const STATEMENTS = [
  'out($e)',
  'out($e)',
  'out($e, $e)',
  'local $1 = $e',
  'local $1 = $n',
  'local $1, $2 = $e, $e',
  'local $1, $2, $3 = $e',
  '$v = lim($e)',
  '$v = lim($v $A $n)',
  '$v, $v = lim($e), $e',
  '$v, $v, $v = $v, $v, $v',
  'if $e then\n$b\nend',
  'if $n $C $n then\n$b\nelse\n$b\nend',
  'if $e $C $e then\n$b\nelseif $e then\n$b\nelse\n$b\nend',
  'do\n$b\nend',
  'for $1 = 1, $i do\ntick()\n$b\nend',
  'for $1 = $i, $i, $T do\ntick()\n$b\nend',
  'for $1 = $N, $N, $T do\ntick()\nout($1)\n$b\nif $e then break end\nend',
  'for $1 = $e, $N, $T do\ntick()\nout($1)\nif $1 == $N then break end\nend',
  'for $1 = $n, math.maxinteger do\nout($1)\nbreak\nend',
  'for $1 = math.maxinteger - $i, math.maxinteger - 1 do\ntick()\nout($1)\nend',
  'for $1 = math.mininteger + $i, math.mininteger + 1, -1 do\ntick()\nout($1)\nend',
  'for $1 = math.maxinteger - $i, $N, -3 do\ntick()\nout($1)\nif $i == 1 then break end\nend',
  'for $1, $2 in ipairs({ $e, $e, $e }) do\ntick()\n$b\nend',
  'local $1 = 0\nwhile $1 < $i do\n$1 = $1 + 1\ntick()\n$b\nend',
  'local $1 = 0\nrepeat\n$1 = $1 + 1\ntick()\nlocal $2 = $1 * 2\n$b\nuntil $2 > $i or $1 > 5',
  'local $1 = { $e, $e }\n$1.x = $e\n$1[$k] = $e\n$1.y, $1[3] = $e, $e\nout($1, $1.x, $1[1])',
  'local $1 = { x = $e }\n$1.x, $1.y = $1.y, $1.x\n$v, $1.x = $1.x, $v\nout($1)',
  'local $1 = 1\nlocal $2 = { 10, 20, 30 }\n$1, $2[$1] = $1 + 1, $e\nout($1, $2)',
  'local $1 = $e\nlocal $lfunction $2(x) $1 = lim(x) return $1, $e $>end\nout($2($e), $1)',
  'local $lfunction $1(a, b)\ntick()\n$b\nreturn $e, a $>end\nout(pcall($1, $e, $e))\nout(pcall($1, $e))',
  'local $1 = {}\nfor i = 1, 3 do\nlocal j = i * 10\n$1[i] = $lfunction() j = j + i return j, $e $>end\nend\nout(pcall($1[1])) out(pcall($1[3])) out(pcall($1[1]))',
  'local $1 = {}\nfor i = 1, 4 do\nlocal c = i\nif $e then goto continue end\n$1[#$1 + 1] = function() c = c + 1 return c end\n::continue::\nend\nfor _, g in ipairs($1) do out(g(), g()) end',
  'do\nlocal n = 0\n::$1::\nlocal m = n\nlocal g = function() return m end\nn = n + 1\ntick()\nif n < $i then goto $1 end\nout(n, g())\nend',
  'for $1 = 1, 3 do\nfor $2 = 1, 3 do\ntick()\nif $1 * $2 == $i then goto $3 end\n$b\nend\nend\n::$3::',
  'out(pcall($lfunction()\n$b\nreturn $e $>end))',
  'out(pcall($lfunction()\n$b\nerror($e, $i) $>end))',
  'out(xpcall($lfunction()\n$b\nreturn $e, $e $>end, function(m) return "H" .. tostring(type(m) == "table" and m.code or m) end))',
  'out(select("#", pcall($lfunction(...) local a, b = ... return ... $>end, $e, $e, $e)))',
  'local $1 = coroutine.wrap($lfunction(p)\nfor j = 1, 3 do p = coroutine.yield(p, $e) end\nreturn "end", p $>end)\nfor j = 1, 4 do out($1(j)) end',
  'local $1 = coroutine.create($lfunction(p) local q = coroutine.yield(p) out(pcall($lfunction() return coroutine.yield($e) $>end)) return $e $>end)\nout(coroutine.resume($1, 1)) out(coroutine.resume($1, 2)) out(coroutine.resume($1, 3)) out(coroutine.resume($1)) out(coroutine.status($1))',
  'local $1 = coroutine.wrap(function() local o = object(4) return o * 2, o * o end)\nout($1()) out($1(9)) out($1(8))',
  'for $1, $2 in coroutine.wrap($lfunction() for i = 1, 3 do coroutine.yield(i, $e) end $>end) do\ntick()\nout($1, $2)\n$b\nend',
  'local $1 = coroutine.wrap($lfunction(...)\nlocal a = ...\nwhile true do tick() a = coroutine.yield(pcall($f, a)) end $>end)\nout($1($e)) out($1($e))',
  'local $1 = { 5, 3, 8, 1, $i, $i }\ntable.sort($1, function(p, q) return p > q end)\ntable.insert($1, $e)\ntable.insert($1, $i, $e)\nout($1, table.remove($1, 1))',
  'local $1 = { $n, $n, $n, $n }\nout(pcall(table.sort, $1))\nout($1)',
  'local $1 = { $i, $i, $i }\nout(pcall(table.insert, $1, $e, $e)) out(pcall(table.remove, $1, $j)) out(pcall(table.move, $1, $i, $i, $j))\nout($1)',
  'local $1 = {}\nfor w, d in string.gmatch($S, $P) do tick() $1[#$1 + 1] = w end\nout($1)',
  'local $1 = { a = 1, b = 2, c = 3, [$k] = 4, 5, 6 }\nlocal n = 0\nfor k in pairs($1) do n = n + 1 $1[k] = nil end\nout(n, next($1))\n$1.a = $e\nout($1)',
  'local $1 = {}\n$1[$k] = $e\n$1[$k] = $e\n$1[$k] = nil\nout($1, $1[$k], rawget($1, $k))',
  'local $1 = setmetatable({}, { __index = { x = $e }, __newindex = $lfunction(t, k, v) rawset(t, k, $e) $>end })\nfor i = 1, 3 do\nout($1.x, $1.z) $1.z = i\nif i == 2 then getmetatable($1).__index = { x = $e, z = 7 } $1.z = nil end\nend\nout($1)',
  'local $1, $2 = { x = 1 }, {}\nlocal o = setmetatable({}, { __index = $1 })\nfor i = 1, 5 do\ntick()\nout(o.x, o.y)\nif i == 2 then $1.x = $e elseif i == 3 then rawset($1, "y", i) elseif i == 4 then setmetatable($1, { __index = function(_, k) return k end }) $1.x = nil end\nend',
  'local $1 = { x = 1 } $1.__index = $1\nlocal $2 = setmetatable({}, $1) $2.__index = $2\nlocal $3 = setmetatable({}, $2)\nfor i = 1, 6 do\ntick()\nout($3.x, $2.x, $2.y, $3.z)\nif i == $i then $2.x = $e elseif i == $i then $2.y = $e elseif i == $i then $1.y = i $2.z = $e end\nend',
  'local $1 = setmetatable({}, { __$M = $lfunction(a, b) return $e $>end })\nout(pcall($lfunction() return $1 $O $e $>end))\nout(pcall($lfunction() return $e $O $1 $>end))',
  'local $1 = setmetatable({}, { __call = $lfunction(self, ...) return select("#", ...), ... $>end })\nout($1()) out($1($e, nil)) out(pcall($1, $e))',
  'local $1 = setmetatable({}, { __len = $lfunction() return $e $>end, __tostring = $lfunction() return $e $>end, __unm = function(a) return 1 end })\nout(pcall(tostring, $1)) out(#$1, -$1)',
  'local $lfunction $1(n, ...) tick() if n <= 0 then return ... end return $1(n - 1, n, ...) $>end\nout($1($i)) out($1($i, $e))',
  'local $lfunction $1(n) tick() if n > 3 then return $e end return $1(n + 1), $e $>end\nout($1(0))',
  'local $lfunction $1(o)\nreturn o.v $A o:get(), o.w $>end\nfor i = 1, 4 do out(pcall($1, i % 2 == 0 and class.new($n) or sub_.new($n))) end\nout(pcall($1, $e))',
  'local $1 = ""\nfor i = 1, $i do tick() $1 = $1 .. i .. $s end\nout($1)',
]

/** A loop of 5.3 has no end if its step is zero, or if it passes the border of integers. */
const STEPS = ['1', '2', '-1', '0.5', '-0.25', '3', '1.0', '-100']
const KEYS = [
  '1',
  '2',
  '3',
  '4',
  '0',
  '-1',
  '1.0',
  '2.0',
  '1.5',
  '"x"',
  '"y"',
  '"1"',
  'true',
  '2^53',
  '2^63',
  '1e300',
  'math.maxinteger',
  '100',
]
const SUBJECTS = [
  '"hello world 123"',
  '"a1 b22 c333 xx"',
  '"(a(b)c) [x]"',
  '"key=val; k2 = v2"',
  '"aaa"',
  '""',
  '"\\0a\\0b"',
]
const WHOLE = [
  '0',
  '1',
  '-1',
  '7',
  '255',
  '256',
  '-128',
  '65535',
  '2.0',
  '-3.0',
  '1e15',
  ...['math.maxinteger', 'math.mininteger', '(1 << 62)', '0xffffffff'],
]
const ARITHMETIC = ['+', '-', '*', '/', '//', '%']
const BITS = ['&', '|', '~', '<<', '>>']
const COMPARE = ['<', '<=', '>', '>=', '==', '~=']
const EVENTS: readonly (readonly [event: string, operator: string])[] = [
  ['add', '+'],
  ['sub', '-'],
  ['mul', '*'],
  ['div', '/'],
  ['mod', '%'],
  ['pow', '^'],
  ['idiv', '//'],
  ['band', '&'],
  ['bor', '|'],
  ['bxor', '~'],
  ['shl', '<<'],
  ['shr', '>>'],
  ['concat', '..'],
  ['eq', '=='],
  ['lt', '<'],
  ['le', '<='],
  ['lt', '>='],
]
const PATTERN_ITEMS = [
  'a',
  'b',
  'x',
  '.',
  '%a',
  '%d',
  '%s',
  '%w',
  '%p',
  '%S',
  '%D',
  '%u',
  '%x',
  '%c',
  '%%',
  '%.',
  '[abc]',
  '[^a]',
  '[a-z]',
  '[%d_]',
  '[]]',
  '[^%s]',
  '()',
  '%b()',
  '%f[%w]',
  '%1',
  '%2',
]
const PACKS = [
  'b',
  'B',
  'h',
  'H',
  'i3',
  'I5',
  'i8',
  'j',
  'J',
  'l',
  'I16',
  'f',
  'd',
  'n',
  'z',
  's1',
  's2',
  's',
  'c5',
  'x',
  '<',
  '>',
  '!4',
  ' ',
  'Xi4',
  'i2',
  '!',
  '=',
]

export class ProgramMaker {
  readonly #next: (bound: number) => number
  #variables: string[] = []
  #functions: string[] = []
  #names = 0
  #depth = 0
  readonly #varargs: boolean[] = [true]

  constructor(seed: number) {
    this.#next = chance(seed)
  }

  /** To be run where the functions of PRELUDE are global. */
  program(): string {
    const parts = ['local v1, v2 = $n, $e'.replace(/\$./g, (code) => this.#random(code[1] as string, 0))]
    this.#variables = ['v1', 'v2']
    const functionCount = this.#next(3)
    for (let i = 0; i < functionCount; i++) parts.push(this.#function())
    const count = 1 + this.#next(4)
    for (let i = 0; i < count; i++) {
      const head = this.#next(2) === 0 ? '...' : 'p, q'
      parts.push(
        `out(pcall(function(${head})\n${this.#within(head, 4)}\nend, ${this.#constant()}, ${this.#constant()}))`,
      )
    }
    // Often enough for whatever learns from what it has run.
    for (const name of this.#functions) {
      parts.push(
        `for i = 1, 6 do local a, b = pcall(${name}, i, ${this.#constant()}) if i % 3 == 1 then out(i, a, b) end end`,
      )
    }
    return parts.join('\n')
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#next(items.length)] as T
  }

  #constant(): string {
    const kind = this.#next(10)
    if (kind < 4) return this.#pick(NUMBERS)
    if (kind < 6) return this.#pick(LARGE)
    if (kind < 8) return this.#pick(STRINGS)
    return this.#pick(OTHERS)
  }

  #function(): string {
    const name = `f${++this.#names}`
    const isVararg = this.#next(3) === 0
    const head = isVararg ? 'a, b, ...' : 'a, b'
    const text = `local function ${name}(${head})\ntick()\n${this.#within(head, 4)}\nend`
    this.#functions.push(name)
    return text
  }

  /** The body of a function. */
  #within(parameters: string, size: number): string {
    const outer = this.#variables
    this.#variables = [...outer, ...parameters.split(', ').filter((name) => name !== '...')]
    this.#varargs.push(parameters.endsWith('...'))
    const text = `${this.#body(size)}\nreturn ${this.#expression(2)}${this.#next(2) === 0 ? `, ${this.#expression(1)}` : ''}`
    this.#varargs.pop()
    this.#variables = outer
    return text
  }

  #body(size: number): string {
    const before = this.#variables
    this.#variables = [...before]
    this.#depth++
    const lines: string[] = []
    const count = 1 + this.#next(size)
    for (let i = 0; i < count; i++) lines.push(this.#statement())
    this.#depth--
    this.#variables = before
    return lines.join('\n')
  }

  #statement(): string {
    let template = this.#pick(STATEMENTS)
    while (this.#depth > 3 && template.includes('$b')) template = this.#pick(STATEMENTS)
    if (template.includes('$M')) {
      const [event, operator] = this.#pick(EVENTS)
      template = template.replace('$M', event).replaceAll('$O', operator)
    }
    return this.#fill(template, 2)
  }

  #expression(depth: number): string {
    if (depth <= 0 || this.#next(4) === 0) {
      return this.#variables.length > 0 && this.#next(2) === 0 ? this.#pick(this.#variables) : this.#constant()
    }
    let template = this.#pick(EXPRESSIONS)
    while (template.includes('...') && this.#varargs.at(-1) !== true) template = this.#pick(EXPRESSIONS)
    return this.#fill(template, depth - 1)
  }

  /** Names that a statement makes may be used where they are not seen: there they are global variables. */
  #fill(template: string, depth: number): string {
    const names = new Map<string, string>()
    return template.replace(/\$(.)/gs, (whole, code: string) => {
      if (code < '1' || code > '9') return this.#random(code, depth)
      let name = names.get(whole)
      if (name === undefined) {
        name = `n${++this.#names}`
        names.set(whole, name)
        if (!template.includes(`::${whole}::`)) this.#variables.push(name)
      }
      return name
    })
  }

  #random(code: string, depth: number): string {
    switch (code) {
      case 'e':
        return this.#expression(depth)
      case 'n':
        return this.#pick(this.#next(3) === 0 ? LARGE : NUMBERS)
      case 's':
        return this.#pick(STRINGS)
      case 'S':
        return this.#pick(SUBJECTS)
      case 'F':
        return this.#finite()
      case 'N':
        return this.#pick(NUMBERS)
      case 'T':
        return this.#pick(STEPS)
      case 'o':
        return this.#pick(this.#pick([NUMBERS, LARGE, STRINGS, ['true', 'nil']]))
      case 'i':
        return String(this.#next(6))
      case 'j':
        return String(this.#next(9) - 4)
      case 'k':
        return this.#pick(KEYS)
      case 'v':
        return this.#variables.length > 0 ? this.#pick(this.#variables) : 'G'
      case 'f':
        return this.#functions.length > 0 ? this.#pick(this.#functions) : 'tostring'
      case 'A':
        return this.#pick(ARITHMETIC)
      case 'B':
        return this.#pick(BITS)
      case 'C':
        return this.#pick(COMPARE)
      case 'P':
        return this.#pattern()
      case 'q':
        return this.#format()
      case 'K':
        return this.#packing()
      case 'Z':
        return this.#pick(PACKS)
      case 'b':
        return this.#body(2)
      case 'l':
        this.#varargs.push(false)
        return ''
      case '>':
        this.#varargs.pop()
        return ' '
      default:
        throw new Error(`no $${code}`)
    }
  }

  /** A number: what is none has a sign in C, and infinite ones have no literal form there. */
  #finite(): string {
    return this.#pick(this.#next(3) === 0 ? LARGE.filter((number) => !number.includes('/0')) : NUMBERS)
  }

  #pattern(): string {
    let pattern = this.#next(6) === 0 ? '^' : ''
    let open = 0
    const count = 1 + this.#next(4)
    for (let i = 0; i < count; i++) {
      if (this.#next(5) === 0) {
        pattern += '('
        open++
      }
      pattern += this.#pick(PATTERN_ITEMS) + this.#pick(['', '', '', '*', '+', '-', '?'])
      if (open > 0 && this.#next(2) === 0) {
        pattern += ')'
        open--
      }
    }
    if (this.#next(20) !== 0) pattern += ')'.repeat(open)
    return `"${pattern}${this.#next(6) === 0 ? '$' : ''}"`
  }

  /** A format and what it shows. */
  #format(): string {
    let format = ''
    const values: string[] = []
    const count = 1 + this.#next(3)
    for (let i = 0; i < count; i++) {
      const kind = this.#pick([...'diouxXcaAeEfgGsq'])
      const flags = kind === 'q' ? '' : this.#pick(['', '', '', '-', '+', ' ', '#', '0', '-+', '0+'])
      const width = kind === 'q' ? '' : this.#pick(['', '', '', '1', '5', '12', '20'])
      const precision = kind === 'q' || kind === 'c' ? '' : this.#pick(['', '', '', '.', '.0', '.3', '.10', '.20'])
      // What C does not define is no test.
      const isDefined =
        !(flags.includes('#') && 'diucs'.includes(kind)) &&
        !(/[0+ ]/.test(flags) && 'ouxXcs'.includes(kind) && flags !== '0')
      const zero = flags.includes('0') && (kind === 's' || kind === 'c')
      format += `%${isDefined && !zero ? flags : ''}${width}${precision}${kind}${this.#pick(['', '|', ' '])}`
      values.push(
        'aAeEfgG'.includes(kind)
          ? this.#finite()
          : 'sq'.includes(kind)
            ? this.#pick([this.#finite(), this.#random('s', 0), 'true', 'nil'])
            : kind === 'c'
              ? String(33 + this.#next(90))
              : this.#pick([...WHOLE, this.#pick(WHOLE_TEXTS)]),
      )
    }
    return `"${format}"${values.map((value) => `, ${value}`).join('')}`
  }

  #packing(): string {
    const count = 1 + this.#next(3)
    let format = ''
    const values: string[] = []
    for (let i = 0; i < count; i++) {
      const item = this.#pick(PACKS)
      format += item
      if ('fdn'.includes(item[0] as string)) values.push(this.#random('n', 0))
      else if ('zsc'.includes(item[0] as string)) values.push(this.#random('s', 0))
      else if (/[bBhHiIjJl]/.test(item[0] as string)) values.push(this.#pick(WHOLE))
    }
    return `"${format}"${values.map((value) => `, ${value}`).join('')}`
  }
}
