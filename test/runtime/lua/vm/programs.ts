// Random Lua programs, the same for the same seed. They end, and what they print depends on nothing but the language: numbers with their
// subtype, tables by key, errors with their texts.

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

const PRELUDE = `
local depth = 0
local function show(v)
  if math.type(v) == "integer" then return "i" .. string.format("%d", v) end
  if math.type(v) == "float" then
    if v ~= v then return "fnan" end
    return "f" .. string.format("%.14g", v)
  end
  if type(v) == "string" then return "s" .. v end
  if type(v) == "table" then
    depth = depth + 1
    if depth > 3 then depth = depth - 1 return "deep" end
    local keys, out = {}, {}
    for k in next, v do if type(k) ~= "table" and type(k) ~= "function" and type(k) ~= "thread" then keys[#keys + 1] = k end end
    table.sort(keys, function(a, b)
      local x, y = type(a) .. show(a), type(b) .. show(b)
      return x < y
    end)
    for _, k in ipairs(keys) do out[#out + 1] = show(k) .. "=" .. show(rawget(v, k)) end
    depth = depth - 1
    return "{" .. table.concat(out, ",") .. "}"
  end
  if type(v) == "function" or type(v) == "thread" then return type(v) end
  return tostring(v)
end
local function out(...)
  local parts = {}
  for i = 1, select("#", ...) do parts[i] = show((select(i, ...))) end
  print(table.concat(parts, " "))
end
local count = 0
local function tick() count = count + 1 if count > 3000 then error("enough", 0) end end
local mt = {}
mt.__index = function(t, k) if type(k) == "string" then return k .. "?" end return rawget(t, "n") end
mt.__newindex = function(t, k, v) rawset(t, k, v) end
mt.__add = function(a, b) return type(a) == "table" and rawget(a, "n") or b end
mt.__sub = function(a, b) return nil end
mt.__concat = function(a, b) return (type(a) == "table" and "T" or a) .. (type(b) == "table" and "T" or b) end
mt.__eq = function(a, b) return rawget(a, "n") == rawget(b, "n") end
mt.__lt = function(a, b) return (type(a) == "table" and 1 or a) < (type(b) == "table" and 2 or b) end
mt.__le = function(a, b) return not (b < a) end
mt.__len = function(t) return 42 end
mt.__call = function(self, a, ...) return a, select("#", ...) end
mt.__unm = function(a) return "neg" end
local function object(n) return setmetatable({ n = n }, mt) end
local class = {} class.__index = class
function class.new(v) return setmetatable({ v = v }, class) end
function class:add(n) self.v = self.v + n return self end
function class:get() return self.v end
local sub = setmetatable({}, { __index = class }) sub.__index = sub
function sub.new(v) local o = class.new(v) return setmetatable(o, sub) end
function sub:get() return self.v * 2 end
`

const NUMBERS = [
  '0',
  '1',
  '2',
  '3',
  '-1',
  '7',
  '10',
  '255',
  '0.5',
  '2.0',
  '-3.25',
  '1e3',
  '1e15',
  '0.1',
  '1e300',
  '2^53',
  '100',
]
const LARGE = [
  'math.maxinteger',
  'math.mininteger',
  '0x7fffffff',
  '0xffffffff',
  '9007199254740993',
  '1 << 62',
  '-2147483648',
  '2.0^63',
  '1/0',
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
  '"x,y,z"',
  '"hello world"',
  '"\\0\\255"',
  '"%d"',
]
const ARITHMETIC = ['+', '-', '*', '/', '//', '%']
const BITS = ['&', '|', '~', '<<', '>>']
const COMPARE = ['<', '<=', '>', '>=', '==', '~=']
const CALLS = [
  (e: () => string) => `math.floor(${e()})`,
  (e: () => string) => `tostring(${e()} == ${e()})`,
  (e: () => string) => `tonumber(${e()})`,
  (e: () => string) => `string.rep(tostring(type(${e()})), 2)`,
  (e: () => string) => `string.sub("hello world", ${e()}, ${e()})`,
  (e: () => string) => `string.byte("hello", ${e()})`,
  (_e: () => string) => `string.format("%d|%5.1f|%s|%x", 3, 2.55, "q", 255)`,
  (e: () => string) => `string.find("hello world", ${e()}, 1, true)`,
  (e: () => string) => `(string.gsub("hello world", "o", ${e()}))`,
  (_e: () => string) => `string.match("key=val", "(%w+)=(%w+)")`,
  (e: () => string) => `select("#", ${e()}, ${e()})`,
  (e: () => string) => `select(${e()}, ${e()}, ${e()})`,
  (e: () => string) => `math.type(${e()})`,
  (e: () => string) => `type(${e()})`,
  (e: () => string) => `rawequal(${e()}, ${e()})`,
  (e: () => string) => `table.concat({ 1, 2, ${e()} }, "-")`,
  (e: () => string) => `#{ 1, ${e()}, 3 }`,
  (e: () => string) => `(table.unpack({ 1, ${e()}, 3 }, 2, 3))`,
  (e: () => string) => `math.tointeger(${e()})`,
  (e: () => string) => `math.abs(${e()})`,
  (e: () => string) => `object(${e()})(${e()})`,
  (e: () => string) => `sub.new(${e()}):add(${e()}):get()`,
  (e: () => string) => `class.new(${e()}):get()`,
  (e: () => string) => `pcall(error, ${e()})`,
]

export class ProgramMaker {
  readonly #next: (bound: number) => number
  #variables: string[] = []
  #functions: string[] = []
  #names = 0
  #depth = 0
  #isVararg = false

  constructor(seed: number) {
    this.#next = chance(seed)
  }

  program(): string {
    const parts = [PRELUDE]
    for (let i = 0; i < 3; i++) parts.push(this.#function())
    for (let i = 0; i < 6; i++) {
      this.#isVararg = this.#next(2) === 0
      parts.push(
        `out(pcall(function(${this.#isVararg ? '...' : 'p, q'})\n${this.#body(5, true)}\nend, ${this.#constant()}, ${this.#constant()}))`,
      )
      this.#isVararg = false
    }
    // Often enough for whatever learns from what it has run.
    for (const name of this.#functions) {
      parts.push(
        `for i = 1, 30 do local a, b = pcall(${name}, i, ${this.#constant()}) if i % 10 == 1 then out(i, a, b) end end`,
      )
    }
    return parts.join('\n')
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#next(items.length)] as T
  }

  #fresh(prefix: string): string {
    return `${prefix}${++this.#names}`
  }

  #constant(): string {
    const kind = this.#next(10)
    if (kind < 5) return this.#pick(NUMBERS)
    if (kind < 6) return this.#pick(LARGE)
    if (kind < 8) return this.#pick(STRINGS)
    return this.#pick(['nil', 'true', 'false', '{}', '{ 1, 2, 3 }', 'object(3)'])
  }

  #expression(depth: number): string {
    const kind = this.#next(depth <= 0 ? 4 : 15)
    const inner = (): string => this.#expression(depth - 1)
    switch (kind) {
      case 0:
      case 1:
        return this.#variables.length > 0 ? this.#pick(this.#variables) : this.#constant()
      case 2:
      case 3:
        return this.#constant()
      case 4:
      case 5:
        return `(${inner()} ${this.#pick(ARITHMETIC)} ${inner()})`
      case 6:
        return `(${inner()} ${this.#pick(BITS)} ${inner()})`
      case 7:
        return `(${inner()} ${this.#pick(COMPARE)} ${inner()})`
      case 8:
        return `(${inner()} ${this.#pick(['and', 'or'])} ${inner()})`
      case 9:
        return `(${this.#pick(['-', 'not', '# tostring', '~'])}(${inner()}))`
      case 10:
        return `(${inner()} .. ${inner()})`
      case 11:
        return this.#pick(CALLS)(inner)
      case 12:
        return `({ ${inner()}, x = ${inner()}, [${this.#pick(NUMBERS)}] = ${inner()}, ${inner()} }).x`
      case 13:
        return this.#functions.length > 0
          ? `(${this.#pick(this.#functions)}(${inner()}, ${inner()}))`
          : this.#constant()
      default:
        return this.#isVararg ? this.#pick(['(...)', 'select("#", ...)', '(select(2, ...))']) : this.#constant()
    }
  }

  /** An expression of an inner function. */
  #outside(): string {
    const wasVararg = this.#isVararg
    this.#isVararg = false
    const text = this.#expression(2)
    this.#isVararg = wasVararg
    return text
  }

  #function(): string {
    const name = this.#fresh('f')
    const outer = this.#variables
    const wasVararg = this.#isVararg
    this.#isVararg = this.#next(3) === 0
    this.#variables = [...outer, 'a', 'b']
    const text = `local function ${name}(a, b${this.#isVararg ? ', ...' : ''})\ntick()\n${this.#body(4, true)}\nend`
    this.#variables = outer
    this.#isVararg = wasVararg
    this.#functions.push(name)
    return text
  }

  #body(size: number, returns: boolean): string {
    const before = this.#variables
    this.#variables = [...before]
    this.#depth++
    const lines: string[] = []
    const count = 1 + this.#next(size)
    for (let i = 0; i < count; i++) lines.push(this.#statement())
    if (returns) {
      lines.push(
        `return ${this.#pick([() => this.#expression(2), () => `${this.#expression(1)}, ${this.#expression(1)}`, () => this.#call()])()}`,
      )
    }
    this.#depth--
    this.#variables = before
    return lines.join('\n')
  }

  #call(): string {
    return this.#functions.length > 0
      ? `${this.#pick(this.#functions)}(${this.#expression(1)}, ${this.#expression(1)})`
      : 'tostring(1)'
  }

  #statement(): string {
    const isDeep = this.#depth > 3
    const kind = this.#next(isDeep ? 6 : 20)
    switch (kind) {
      case 0:
      case 1: {
        const value = this.#expression(2)
        const name = this.#fresh('v')
        this.#variables.push(name)
        return `local ${name} = ${value}`
      }
      case 2:
        return this.#variables.length > 0
          ? `${this.#pick(this.#variables)} = ${this.#expression(2)}`
          : `out(${this.#expression(2)})`
      case 3:
      case 4:
        return `out(${this.#expression(2)})`
      case 5: {
        const a = this.#fresh('v')
        const b = this.#fresh('v')
        const text = `local ${a}, ${b} = ${this.#next(2) === 0 ? this.#call() : `${this.#expression(1)}, ${this.#expression(1)}`}`
        this.#variables.push(a, b)
        return text
      }
      case 6:
        return `if ${this.#expression(2)} then\n${this.#body(2, false)}\nelseif ${this.#expression(1)} then\n${this.#body(2, false)}\nelse\n${this.#body(2, false)}\nend`
      case 7: {
        const i = this.#fresh('i')
        const step = this.#pick(['', ', 2', ', -1', ', 0.5'])
        const bounds = step === ', -1' ? '4, 1' : '1, 4'
        return this.#loop(`for ${i} = ${bounds}${step} do`, [i])
      }
      case 8: {
        const n = this.#fresh('n')
        return `local ${n} = 0\n${this.#loop(`while ${n} < 4 do\n${n} = ${n} + 1`, [n])}`
      }
      case 9: {
        const k = this.#fresh('k')
        const v = this.#fresh('v')
        return this.#loop(`for ${k}, ${v} in ipairs({ ${this.#expression(1)}, ${this.#expression(1)}, 3 }) do`, [k, v])
      }
      case 10: {
        const n = this.#fresh('n')
        const text = `local ${n} = 0\nrepeat\n${n} = ${n} + 1\n${this.#body(2, false)}\nuntil ${n} > 3`
        return text
      }
      case 11: {
        const t = this.#fresh('t')
        const text = `local ${t} = { ${this.#expression(1)}, ${this.#expression(1)} }\n${t}.x = ${this.#expression(1)}\n${t}[${this.#expression(1)}] = ${this.#expression(1)}\n${t}.y, ${t}[3] = ${this.#expression(1)}, ${this.#expression(1)}\nout(${t}, ${t}.x, ${t}[1])`
        this.#variables.push(t)
        return text
      }
      case 12: {
        const f = this.#fresh('g')
        const c = this.#fresh('c')
        this.#variables.push(c)
        return `local ${c} = ${this.#expression(1)}\nlocal function ${f}(x) ${c} = x return ${c}, ${this.#outside()} end\nout(${f}(${this.#expression(1)}), ${c})`
      }
      case 13: {
        const wasVararg = this.#isVararg
        this.#isVararg = false
        const text = `out(pcall(function()\n${this.#body(3, true)}\nend))`
        this.#isVararg = wasVararg
        return text
      }
      case 14: {
        const co = this.#fresh('co')
        const a = this.#outside()
        return `local ${co} = coroutine.wrap(function(p)\nfor j = 1, 3 do p = coroutine.yield(p, ${a}) end\nreturn "end", p\nend)\nfor j = 1, 4 do out(${co}(j)) end`
      }
      case 15: {
        const list = this.#fresh('l')
        return `local ${list} = { 5, 3, 8, 1, ${this.#next(2)} }\ntable.sort(${list}, function(p, q) return p > q end)\ntable.insert(${list}, ${this.#expression(1)})\nout(${list}, table.remove(${list}, 1), #${list})`
      }
      case 16: {
        const label = this.#fresh('l')
        return `do\nlocal n = 0\n::${label}::\nn = n + 1\nif n < 4 then goto ${label} end\nout(n)\nend`
      }
      case 17:
        return `out(xpcall(function() return ${this.#outside()} end, function(m) return "H" .. tostring(m) end))`
      case 18: {
        const s = this.#fresh('s')
        this.#variables.push(s)
        return `local ${s} = ""\nfor w, d in string.gmatch("a1 b22 c333", "(%a)(%d+)") do ${s} = ${s} .. w .. #d end\nout((string.gsub(${s}, "%d", function(d) return tonumber(d) + 1 end)))`
      }
      default: {
        const co = this.#fresh('co')
        return `local ${co} = coroutine.create(function(p) local q = coroutine.yield(p) return ${this.#outside()} end)\nout(coroutine.resume(${co}, 1)) out(coroutine.resume(${co}, 2)) out(coroutine.resume(${co})) out(coroutine.status(${co}))`
      }
    }
  }

  #loop(head: string, names: readonly string[]): string {
    const before = this.#variables
    this.#variables = [...before, ...names]
    const skip = this.#next(3) === 0 ? `if ${this.#expression(1)} then break end\n` : ''
    const text = `${head}\ntick()\n${skip}${this.#body(3, false)}\nend`
    this.#variables = before
    return text
  }
}
