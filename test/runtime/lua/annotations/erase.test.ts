import { describe, expect, test } from 'vitest'
import { eraseAnnotations } from '../../../../runtime/lua/annotations/erase.ts'
import { stringValue, tokenize } from '../../../../runtime/lua/annotations/tokens.ts'
import { LuaSyntaxError } from '../../../../runtime/lua/engine.ts'
import { FengariEngine } from '../../../../runtime/lua/fengari.ts'
import { compile } from '../../../../runtime/lua/vm/compiler.ts'
import type { Proto } from '../../../../runtime/lua/vm/proto.ts'
import { fc } from '../../../tools/property.ts'

const engine = new FengariEngine()

const erase = (source: string): string => eraseAnnotations('t:x', source).source
/** Without the spaces that erased parts leave, at the ends of what is left. */
const squeezed = (source: string): string => {
  sameOnOurs(source)
  return erase(source)
    .replace(/ +/g, ' ')
    .replace(/ ?\n ?/g, '\n')
    .trim()
}

function compiles(source: string): boolean {
  try {
    engine.compilePlain('t:x', source)
    return true
  } catch (error) {
    if (error instanceof LuaSyntaxError) return false
    throw error
  }
}

function problemOf(source: string): { line: number; text: string } {
  try {
    erase(source)
  } catch (error) {
    if (error instanceof LuaSyntaxError) return { line: error.line, text: error.text }
    throw error
  }
  throw new Error(`nothing is wrong with ${source}`)
}

/** All that the code of a chunk consists of. */
const shown = ({ code, lines, constants, protos, upvalues, names, parameterCount, isVararg }: Proto): unknown => ({
  code: [...code],
  lines: [...lines],
  constants,
  protos: protos.map(shown),
  upvalues,
  names: names.map((each) => each ?? []),
  parameterCount,
  isVararg,
})

type Outcome = { proto: unknown; types: unknown } | { line: number; text: string }

function outcomeOf(make: () => Outcome): Outcome {
  try {
    return make()
  } catch (error) {
    if (error instanceof LuaSyntaxError) return { line: error.line, text: error.text }
    throw error
  }
}

/** Our own engine reads annotations itself: to it a text is what it would be without them. */
function sameOnOurs(source: string, { isRandom = false } = {}): void {
  const ours = outcomeOf(() => {
    const proto = compile('t:x', source)
    return { proto: shown(proto), types: proto.types }
  })
  const erased = outcomeOf(() => {
    const { source: plain, types } = eraseAnnotations('t:x', source)
    // What is left may look like another annotation, `: number` behind the erased type of `(list: {T} @n: number)`, which plain Lua refuses.
    if (erase(plain) !== plain) engine.compilePlain('t:x', plain)
    return { proto: shown(compile('t:x', plain)), types }
  })
  // Of Lua inside a type, of which nothing stays, the eraser wants less.
  if ('text' in ours && /^(statement|expression) expected/.test(ours.text)) return
  if ('text' in ours && 'text' in erased) {
    // Of several mistakes the eraser may come to one in an annotation before an earlier one of Lua: it reads the text twice.
    if (isRandom) expect(ours.line, source).toBeLessThanOrEqual(erased.line)
    else expect(ours.line, source).toBe(erased.line)
    return
  }
  expect(ours, source).toEqual(erased)
}

/** What the machine is busy with beside does not count. */
function processorUs(): number {
  const { user, system } = process.cpuUsage()
  return user + system
}

const lineCount = (text: string): number => text.split(/\r\n|\n\r|\n|\r/).length

describe('where annotations appear (lua-core.md §3.1)', () => {
  const rows: [string, string][] = [
    // local variables
    ['local a: T', 'local a'],
    ['local a: T, b: U = x, y', 'local a , b = x, y'],
    ['local a, b: {string} = x, y', 'local a, b = x, y'],
    ['local a: T = 1 local b: U = 2', 'local a = 1 local b = 2'],
    // parameters
    ['function f(a: T, b: U?, ...: V) end', 'function f(a , b , ... ) end'],
    ['function m:f(a: T) end', 'function m:f(a ) end'],
    ['function m.n.f(a: m.T, b) end', 'function m.n.f(a , b) end'],
    ['local f = function(a: fun(x: T): U, b) end', 'local f = function(a , b) end'],
    // returns
    ['function f(): T return x end', 'function f() return x end'],
    ['function f(): T, U return x, y end', 'function f() return x, y end'],
    ['function f(): (T, U) return x, y end', 'function f() return x, y end'],
    ['function f(): (T?, error?) return x, y end', 'function f() return x, y end'],
    ['local function f(): () end', 'local function f() end'],
    ['local f = function(): (a: T) -> U return g end', 'local f = function() return g end'],
    ['call(function(): T, U return 1 end, 2)', 'call(function() return 1 end, 2)'],
    ['function f(): (T | U)[] end', 'function f() end'],
    // generics
    ['function f<T, U: Bound>(a: T): U end', 'function f (a ) end'],
    ['function m.n:f<T>(a: T) end', 'function m.n:f (a ) end'],
    ['local function f<T>(a: {T}) end', 'local function f (a ) end'],
    ['local f = function<T>(a: T) end', 'local f = function (a ) end'],
    // aliases
    ['type Name = T x = 1', '; x = 1'],
    ['type Name<T, U> = {[T]: U}', ';'],
    ['type Name<T: Bound> = T', ';'],
    ['type Name =\n  | "a"\n  | "b"\nx = 1', ';\n\n\nx = 1'],
    ['type Job = {id: string, retries?: integer, tags: {string}}', ';'],
    // interfaces
    ['interface Name a: T function m(self, a: T): R end b?: U end x = 1', '; x = 1'],
    ['interface Name: Base, Other\n  a: T\n  function m(self): R\nend\nx = 1', ';\n\n\n\nx = 1'],
    ['interface Name\n  function m(self): R end\n  function n()\nend\nx = 1', ';\n\n\n\nx = 1'],
    ['interface Name\n  function m(self)\n  end\nend\nx = 1', ';\n\n\n\nx = 1'],
    ['interface Name\n  function m(self)\n    return self.x\n  end\n  a: T\nend\nx = 1', ';\n\n\n\n\n\nx = 1'],
    ['interface Name end x = 1', '; x = 1'],
    // casts
    ['x = a :: T', 'x = a'],
    ['x = a as T', 'x = a'],
    ['x = -a :: T + b as U .. c', 'x = -a + b .. c'],
    ['x = a as T or b :: U and c', 'x = a or b and c'],
    ['return f(a :: {T}, b as lib.T<U>)', 'return f(a , b )'],
    ['x = (a :: T).b', 'x = (a ).b'],
    ['x = f() as T:m()', 'x = f() :m()'],
    ['x = {a :: T, b = c as T, [d :: T] = 1}', 'x = {a , b = c , [d ] = 1}'],
    ['x = {} :: {string}', 'x = {}'],
    ['x = function() end :: T', 'x = function() end'],
    ['x = a :: any :: string', 'x = a'],
    ['x = a\n  :: T', 'x = a'],
    ['x = a\n  as T', 'x = a'],
    ['if a as T then elseif b :: T then end', 'if a then elseif b then end'],
    ['for i = a :: T, b as T do end', 'for i = a , b do end'],
    // the mark
    ['x = (user!).name', 'x = (user ).name'],
    ['x = find(x)!', 'x = find(x)'],
    ['x = user!.name!.first!', 'x = user .name .first'],
    ['x = list![1]!(2)!:m()!', 'x = list [1] (2) :m()'],
    ['x = a! == b!', 'x = a == b'],
    ['find(x)!.y = 1', 'find(x) .y = 1'],
  ]
  test.each(rows)('%s', (source, plain) => {
    expect(squeezed(source)).toBe(plain)
    expect(compiles(erase(source))).toBe(true)
    expect(lineCount(erase(source))).toBe(lineCount(source))
    sameOnOurs(source)
  })

  test('what is left stays in its columns', () => {
    const source = 'local count: integer = n :: integer + rest'
    expect(erase(source).indexOf('= n')).toBe(source.indexOf('= n'))
    expect(erase(source).indexOf('+ rest')).toBe(source.indexOf('+ rest'))
    expect(erase(source)).toHaveLength(source.length)
  })

  test('statements that an annotation keeps apart stay apart', () => {
    expect(squeezed('x = f() :: T\n(g or h)()')).toBe('x = f() ;\n(g or h)()')
    expect(squeezed('x = f()\ntype A = B\n(g or h)()')).toBe('x = f()\n;\n(g or h)()')
    expect(squeezed('local x: T\n(g or h)()')).toBe('local x\n(g or h)()')
  })
})

describe('types (lua-core.md §3.2)', () => {
  const types = [
    ...[
      'Name',
      'lib.Name',
      'Name<A>',
      'Name<A, B>',
      'A<B<C<D>>>',
      'lib.A<lib.B<C>>',
      '"text"',
      "'x'",
      '[[long]]',
      '123',
      '-1',
    ],
    ...[
      '0x10',
      '1.5',
      'true',
      'false',
      'nil',
      'A?',
      'A | B',
      'A & B',
      '(A)',
      '(A | B)?',
      'A | B & C',
      '{A}',
      'A[]',
      'A[][]',
      'A?[]',
    ],
    ...[
      '{[string]: A}',
      '{}',
      '{a: A}',
      '{a: A, b?: B}',
      '{a: A; b: B;}',
      '{a: A, b: B,}',
      '{readonly a: A}',
      '{readonly: A}',
    ],
    ...[
      '{readonly readonly?: A}',
      'readonly {A}',
      'readonly {a: A}',
      '{a: A, [string]: B}',
      '{type: string, is: A, as?: B}',
    ],
    ...[
      '() -> A',
      '(A) -> B',
      '(A, B) -> C',
      '(a: A, b?: B) -> C',
      '(...A) -> B',
      '(...: A) -> B',
      '(a: A, ...) -> (B, C)',
    ],
    ...[
      '(A) -> (B) -> C',
      '(A) -> ()',
      '() -> A | B',
      'fun()',
      'fun(): A',
      'fun(a: A, B): (A, B)',
      'fun(a, b)',
      'fun(cb: fun(): A)',
    ],
    ...[
      'interface {a: A}',
      'typeof(x)',
      'typeof(f(x, {1, a = 2})[3].b)',
      'keyof(A)',
      'A["b"]',
      'A[keyof(A)]',
      'A extends B ? C : D',
    ],
    ...[
      'A extends {x: B} ? C[] : D?',
      'A extends B? ? C : D',
      'asserts x',
      'asserts x is A',
      'string @min_len(1)',
      'number @min(-1) @max(5)',
    ],
    ...[
      'string @pattern("^[a-z]+$")',
      'A @required',
      '{string @min_len(1)} @max_len(3)',
      'function',
      'function?',
      'type',
      'interface',
      'fun',
    ],
    ...[
      'readonly',
      'keyof',
      'typeof',
      'asserts',
      'is',
      'as',
      'extends',
      '| A | B',
      'number integer'.split(' ')[0] as string,
    ],
    ...[
      '{\n  a: A,\n  b: {\n    [string]: B,\n  },\n}',
      '(\n  A\n  | B\n)',
      'A\n  | B\n  | C',
      'A --[[ comment ]] | B',
      'A<\n  B,\n  C\n>',
    ],
  ]
  test.each(types)('%s', (type) => {
    for (const source of [`local x: ${type} = y`, `local x = y :: ${type}`, `type X = ${type} local z = 1`]) {
      expect(compiles(erase(source)), erase(source)).toBe(true)
      expect(lineCount(erase(source))).toBe(lineCount(source))
      sameOnOurs(source)
    }
    const onOneLine = type.replaceAll('\n', ' ')
    expect(squeezed(`function f(a: ${onOneLine}, b) end`)).toBe('function f(a , b) end')
    expect(squeezed(`function f(): ${onOneLine} return 1 end`)).toBe('function f() return 1 end')
  })

  test('`<` behind a cast is a comparison unless type arguments follow', () => {
    expect(squeezed('x = a :: number < 3')).toBe('x = a < 3')
    expect(squeezed('x = a :: A < b and c > d')).toBe('x = a < b and c > d')
    expect(squeezed('x = a :: A<B> + 1')).toBe('x = a + 1')
    expect(squeezed('x = a :: A <b>> 3')).toBe('x = a <b>> 3')
    expect(squeezed('x = a :: A <b>= 3')).toBe('x = a <b>= 3')
    expect(squeezed('x = f(a :: A < b, c > (d))')).toBe('x = f(a < b, c > (d))')
  })

  test('a type ends where a statement begins', () => {
    expect(squeezed('local x: A\nextends = 1')).toBe('local x\nextends = 1')
    expect(squeezed('local x: A\nextends(y)')).toBe('local x\nextends(y)')
    expect(squeezed('type A = B\ntype C = D\ntype = 3')).toBe(';\n;\ntype = 3')
    expect(squeezed('local x: asserts\ny = 1')).toBe('local x\ny = 1')
  })

  test('strings in types mean what they mean in Lua', () => {
    expect(stringValue(String.raw`"a\n\x41\65\u{e9}\z   b\\\""`)).toBe('a\nAA\xc3\xa9b\\"')
    expect(stringValue('[==[\nx]]\\n]==]')).toBe('x]]\\n')
  })
})

describe('what is not annotated stays as it is', () => {
  const programs = [
    ...[
      '',
      '\n',
      '-- local x: T',
      '--[[ local x: T ]]',
      '--[==[\nx :: T\n]==] y = 1',
      '---@param x T\nlocal x',
      '--[[@as T]] x = 1',
    ],
    ...[
      'x = "local a: T" y = \'b :: T\'',
      'x = [[\na: T\n]] y = [==[ ]] :: T ]==]',
      'x = "\\"::\\z\n  T" y = "a\\\nb: T"',
    ],
    ...[
      'local type = "a" x = type',
      'x.type = 1 x = x.type',
      'x = {type = 1, as = 2, is = 3, ["interface"] = 4}',
      'err:is(k)',
      'x:as(y)',
    ],
    ...[
      'type(v)',
      'type = 3',
      'type.x = 1',
      'type "x"',
      'type {}',
      'x = type(v) == "table"',
      'local function type(interface, as, is) end',
    ],
    ...[
      'function type.interface:as() end',
      'as(x)',
      'as = 1',
      'as.x = 1',
      'local as, is, keyof, fun = 1',
      'x = as',
      'x = as\nas = 3',
    ],
    ...[
      'x = y\nas(z)',
      'f()\nas {1}',
      'for type, as in pairs(is) do as(type) end',
      'goto type ::type::',
      'return as',
      'x = readonly + extends',
    ],
    ...[
      'interface = 1',
      'interface()',
      'x = interface\ny = 1',
      'typeof(x)',
      'keyof = typeof fun()',
      'asserts(x)',
      'asserts = 1',
    ],
    ...[
      '::a:: goto a',
      'x = 1 ::a:: goto a',
      'print(x)\n::a::\ny = 1',
      'do x = 1 ::a:: end',
      'while x do f() goto c ::c:: end',
      'f() ::a:: ::b::',
    ],
    ...[
      'a:b()',
      'a:b "x"',
      'a:b{1}',
      'a:b[[x]]:c():d{}',
      '("x"):rep(3)',
      'x = a < b > c',
      'x = a >> b >= c << d <= e',
      'x = a | b & c ~ d',
    ],
    ...[
      'x = #a - -b .. 3 .. "x"',
      'x = 1 // 2 ^ -3',
      'x = not not a',
      'x = {f(), [1] = 2, a = 3; 4, ...}',
      'x = a.b[c](d).e "f" {g}',
    ],
    ...[
      'repeat local x = 1 until x',
      'for i = 1, 2, 3 do end',
      'if a then elseif b then else end',
      'x, y.z, w[1] = 1, 2',
      '\r\n\r\nx = 1\n\r',
    ],
    ...[
      'x = 0xA.8p-1 + 1e+5 + .5',
      'goto continue ::continue::',
      ';;;',
      'return',
      'return;',
      'do return 1, 2; end',
      '-- \xc3\xa9\nx = "\xe2\x82\xac"',
    ],
  ]
  test.each(programs)('%s', (source) => {
    expect(erase(source)).toBe(source)
    sameOnOurs(source)
  })

  test('what is not Lua is left for the engine to say', () => {
    for (const source of [
      'x = = 1',
      'if x end',
      'x = a ? b : c',
      'f(',
      'x = "abc',
      'x = [[abc',
      '--[[ abc',
      'local function',
      'a:b',
      'end',
      '@',
      '\xff',
    ]) {
      expect(erase(source)).toBe(source)
      sameOnOurs(source)
    }
    expect(squeezed('local x: T = 1\nx = = 1')).toBe('local x = 1\nx = = 1')
  })
})

describe('errors', () => {
  test.each([
    ['local x: = 3', 1, "type expected near '='"],
    ['x = 1\nlocal x: {a: T\nlocal y', 3, "'}' expected (to close '{' at line 2) near 'local'"],
    ['function f(a: T<U) end', 1, "'>' expected (to close '<' at line 1) near ')'"],
    ['local x: (A, B) = 3', 1, "'->' expected near '='"],
    ['type A = ', 1, 'type expected near <eof>'],
    ['type A<> = B', 1, "type parameter expected near '>'"],
    ['type A<T> B', 1, "'=' expected near 'B'"],
    ['local x: {a b}', 1, "'}' expected (to close '{' at line 1) near 'b'"],
    ['local x: string @min(', 1, 'number or string expected near <eof>'],
    ['local x: string @', 1, 'validator expected near <eof>'],
    ['local x: typeof(=)', 1, "expression expected near '='"],
    ['local x: "abc', 1, 'unfinished string'],
    ['interface A\n  x = 1\nend', 2, "field, method or 'end' expected (to close 'interface' at line 1) near 'x'"],
    ['interface A\n  function (x)\nend', 2, "method name expected near '('"],
    ['\n\nif a != b then end', 3, "unexpected '!=' (Lua writes '~=')"],
    [`local x: ${'{'.repeat(300)}`, 1, 'type is nested deeper than 200 levels'],
    [`local x: T${'?'.repeat(300)}`, 1, 'type is nested deeper than 200 levels'],
  ])('%s', (source, line, text) => {
    expect(problemOf(source)).toEqual({ line, text })
    const ours = outcomeOf(() => ({ proto: compile('t:x', source), types: undefined })) as {
      line: number
      text: string
    }
    expect(ours).toEqual({ line, text: expect.stringContaining(text) })
  })
})

describe('declared types as values', () => {
  const typesOf = (source: string) => eraseAnnotations('t:x', source).types

  test('nothing is made for a type that is no value', () => {
    expect(typesOf('type A = {a: B}\nlocal x: A = f() :: A')).toBeUndefined()
    expect(typesOf('type A = string\nlocal x = y.A + {A = 1}')).toBeUndefined()
    expect(typesOf('x = A\ntype A = string')).toBeUndefined()
    expect(typesOf('do type A = string end x = A')).toBeUndefined()
  })

  test('a name that means a type becomes its value', () => {
    expect(squeezed('type A = string\nx = A(1) + A:is(2)\nA.x = 1')).toBe(
      ';\nx = _TYPES.A_1(1) + _TYPES.A_1:is(2)\n_TYPES.A_1.x = 1',
    )
    expect(squeezed('type A = string return {A = A, f = function() return A end}')).toBe(
      '; return {A = _TYPES.A_1, f = function() return _TYPES.A_1 end}',
    )
  })

  test('a variable of the script hides the type', () => {
    const same = (source: string): void => expect(squeezed(source)).toBe(source.replace(/type A = string/, ';'))
    same('local A = {} type A = string\nfunction A.new() end')
    same('type A = string local A = 1 x = A')
    same('type A = string function f(A) return A end')
    same('type A = string for A = 1, 2 do x = A end')
    same('type A = string for i, A in p do x = A end')
    same('type A = string local function A() return A end')
    same('type A = string repeat local A = 1 until A')
    expect(squeezed('type A = string local A = A')).toBe('; local A = _TYPES.A_1')
    expect(squeezed('type A = string do local A = 1 end x = A')).toBe('; do local A = 1 end x = _TYPES.A_1')
  })

  test('types refer to later ones, to themselves, to parameters, to variables', () => {
    const source = [
      'local lib = f()',
      'type A<T> = {b: B, a: A<T>?, t: T, l: lib.X, u: Unknown, s: string}',
      'type B = lib.Y | g.Z | lib',
      'x = A',
    ].join('\n')
    const types = typesOf(source)
    expect(types?.declarations.map(({ name, key, slotCount }) => [name, key, slotCount])).toEqual([
      ['A', 'A_1', 1],
      ['B', 'B_2', 2],
    ])
    expect(squeezed(source)).toBe(
      'local lib = f()\n_TYPES.bind("A_1", lib);\n_TYPES.bind("B_2", lib, g);\nx = _TYPES.A_1',
    )
  })

  test('the name of the table is one that the chunk does not use', () => {
    expect(typesOf('type A = string x = A _TYPES = 1')?.global).toBe('_TYPES_')
    expect(typesOf(`type A = string x = A y = "${'_TYPES___ '.repeat(5)}"`)?.global).toBe('_TYPES____')
  })

  test('a chunk may declare more types than Lua has local variables', () => {
    const source = Array.from({ length: 500 }, (_, i) => `type T${i} = {a: T${(i + 1) % 500}?} x = T${i}`).join('\n')
    const erased = eraseAnnotations('t:x', source)
    expect(compiles(erased.source)).toBe(true)
    expect(erased.types?.declarations).toHaveLength(500)
  })
})

// ---- any text

const WORDS =
  'local x y type A interface as is :: : ! ? | & < > >> >= = == ( ) { } [ ] , ; . .. ... -> - @ @min(1) "s" [[l]] 1 -1 nil true function end if then do while repeat until for in return goto and not fun typeof( keyof( readonly extends asserts \n -- --[[ ]] " \' \\ \xff'
    .split(' ')
    .concat(' ')

const soup = fc.array(fc.constantFrom(...WORDS), { maxLength: 60 }).map((words) => words.join(' '))
const raw = fc.string({ unit: 'binary', maxLength: 80 })

const SAMPLES = [
  'local function pick<T>(list: {T}, n: number?): (T?, error?)\n  local i: integer = n or 1\n  return list[i] :: T, nil\nend\n',
  'type Tree<T> =\n  | {value: T, left: Tree<T>?, right: Tree<T>?}\n  | nil\nlocal ok = Tree:is(x!)\n',
  'interface Shape: Base\n  function area(self): number end\n  name: string\nend\nfor i = 1, n as integer do print(i) end\n',
  'local f: fun(a: A<B<C>>, ...: any): (D, E) = function(a, ...) return a :: X < 3, "--[[" end -- c: T\ngoto done\n::done::\n',
]
const mutated = fc
  .tuple(
    fc.constantFrom(...SAMPLES),
    fc.array(fc.tuple(fc.nat(400), fc.nat(6), fc.constantFrom(...WORDS)), { minLength: 1, maxLength: 4 }),
  )
  .map(([sample, changes]) =>
    changes.reduce((text, [at, removed, word]) => text.slice(0, at) + word + text.slice(at + removed), sample),
  )

describe('any text', () => {
  test('what looks like an annotation only once another is erased is refused', () => {
    for (const source of [
      'local function pick(list: {T}@ n: number?) end',
      'function f(list:localn: number?) end',
      'local a: T: U = 1',
    ]) {
      sameOnOurs(source)
      expect(() => compile('t:x', source)).toThrow(LuaSyntaxError)
    }
  })

  test('is erased or refused with a line in it; lines stay', () => {
    fc.assert(
      fc.property(fc.oneof(soup, raw, mutated), (source) => {
        sameOnOurs(source, { isRandom: true })
        let erased: string
        try {
          erased = erase(source)
        } catch (error) {
          expect(error).toBeInstanceOf(LuaSyntaxError)
          const { line } = error as LuaSyntaxError
          expect(line >= 1 && line <= lineCount(source)).toBe(true)
          return
        }
        expect(lineCount(erased)).toBe(lineCount(source))
        // Engines count the same lines: what is erased once is plain.
        expect(tokenize(erased).lines.at(-1)).toBe(tokenize(source).lines.at(-1))
        if (compiles(erased)) expect(erase(erased)).toBe(erased)
      }),
      { numRuns: 3000 },
    )
  }, 60_000)

  test('what Lua takes, and has no cast on a line, is left alone', () => {
    const plainWords = WORDS.filter((word) => !['as', '::', 'type', 'interface', '!', '?', '@', '->'].includes(word))
    const plain = fc.array(fc.constantFrom(...plainWords, 'f()', '::a::', 'x.type', 'x:is(y)'), { maxLength: 12 })
    fc.assert(
      fc.property(
        plain.map((words) => words.join('\n')),
        (source) => {
          if (compiles(source)) expect(erase(source)).toBe(source)
          sameOnOurs(source, { isRandom: true })
        },
      ),
      { numRuns: 3000 },
    )
  }, 60_000)

  test('takes time in proportion to its length, however it is built', () => {
    const shapes: ((n: number) => string)[] = [
      (n) => 'x = a :: B < c, d\n'.repeat(n),
      (n) => `x = ${'a :: B < '.repeat(n)}c`,
      (n) => `x = ${'a :: B<typeof('.repeat(n)}`,
      (n) => `local x: ${'A | '.repeat(n)}B`,
      (n) => `local x: ${'A<'.repeat(n)}B`,
      (n) => `local x: ${'('.repeat(n)}`,
      (n) => `local x: ${'() -> '.repeat(n)}A`,
      (n) => `x = ${'('.repeat(n)}`,
      (n) => `x = ${'{'.repeat(n)}`,
      (n) => `x = ${'not '.repeat(n)}y`,
      (n) => `x = a${'.b'.repeat(n)}${'()'.repeat(n)}`,
      (n) => `x = ${'a .. '.repeat(n)}b`,
      (n) => 'do '.repeat(n),
      (n) => 'function f() '.repeat(n),
      (n) => `--[${'='.repeat(n)}`,
      (n) => `x = [${'='.repeat(n)}[`,
      (n) => '[='.repeat(n),
      (n) => `type A = string ${'x = A '.repeat(n)}`,
      (n) => Array.from({ length: n }, (_, i) => `type A${i} = A${i + 1} `).join(''),
      (n) => `${'do type A = A '.repeat(Math.min(n, 200))} x = A`,
      (n) => `_TYPES${'_'.repeat(n)} type A = B x = A`,
      (n) => `x = a ${'as A '.repeat(n)}`,
      (n) => `x = a${'!'.repeat(n)}`,
      (n) => `interface A ${'function m() '.repeat(n)} end`,
      (n) => `x = ${'a :: A<b | '.repeat(n)}`,
      (n) => `x = ${'a :: A<{b: '.repeat(n)}`,
    ]
    for (const shape of shapes) {
      const source = shape(20_000)
      for (const read of [() => void erase(source), () => void compile('t:x', source)]) {
        const startUs = processorUs()
        outcomeOf(() => {
          read()
          return { proto: undefined, types: undefined }
        })
        expect((processorUs() - startUs) / 1000, source.slice(0, 60)).toBeLessThan(1500)
      }
    }
  }, 60_000)
})
