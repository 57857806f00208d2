// Reads a YAML file into located data. Syntax errors, keys that stand twice, unknown tags and aliases that explode are problems with
// their place; nothing throws, and time and memory stay in proportion to the size of the text.

import {
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type Node,
  type Pair,
  Parser,
  parseDocument,
  Scalar,
  type YAMLError,
} from 'yaml'
import { messageOf } from '../base/errors.ts'
import { offsetDeeperThan } from '../base/yaml-depth.ts'
import { DEPTH_MAX, emptyMap, type Field, type Located, type LocatedMap, scalar } from './located.ts'
import { type Path, type Place, type ProblemList, wholeOf } from './problems.ts'

/** Pieces (names, signs, line ends) of one file: the parser needs about a kilobyte for each. */
const PIECES_MAX = 1_000_000
/** Values that the aliases of one file stand for, all in all. */
const ALIASED_VALUES_MAX = 1_000_000
/** How deep the syntax may nest; data has a tighter bound of its own, with the path to the place. */
const SYNTAX_DEPTH_MAX = 500
/** Syntax errors of one file that are worth telling; what follows the first is mostly its echo. */
const SYNTAX_ERRORS_MAX = 10

/**
 * The data of a file, or undefined when it could not be understood; then `problems` tells why. An empty file is an empty map.
 * @param file for the places
 */
export function parseYaml(text: string, file: string, problems: ProblemList): Located | undefined {
  const whole = wholeOf(file)
  if (text.length > PIECES_MAX && !hasFewPieces(text)) {
    problems.add(whole, [], `more than ${PIECES_MAX} words and signs in one file; divide it and \`include:\` the parts`)
    return undefined
  }
  const lines = new LineCounter()
  const tooDeep = offsetDeeperThan(new Parser().parse(text), SYNTAX_DEPTH_MAX)
  const at = (offset: number): Place => {
    const { line, col } = lines.linePos(offset)
    return { file, line: Math.max(1, line), column: Math.max(1, col) }
  }
  if (tooDeep !== undefined) {
    const before = text.slice(0, tooDeep)
    const place = { file, line: before.split('\n').length, column: tooDeep - before.lastIndexOf('\n') }
    problems.add(place, [], `nested deeper than ${SYNTAX_DEPTH_MAX} levels`)
    return undefined
  }
  try {
    // The parser's own check for keys that stand twice takes quadratic time; ours is in `Reader`.
    const options = { uniqueKeys: false, prettyErrors: false, schema: 'core', resolveKnownTags: false } as const
    const document = parseDocument(text, { ...options, lineCounter: lines })
    const errors = [...document.errors, ...document.warnings]
    if (errors.length > 0) {
      for (const error of errors.slice(0, SYNTAX_ERRORS_MAX)) problems.add(at(error.pos[0]), [], plainWords(error))
      return undefined
    }
    const reader = new Reader(at, problems)
    const located = document.contents === null ? emptyMap(at(0)) : reader.read(document.contents, at(0), [])
    return reader.isBroken ? undefined : located
  } catch (error) {
    problems.add(whole, [], `this YAML cannot be read: ${messageOf(error)}`)
    return undefined
  }
}

function hasFewPieces(text: string): boolean {
  let count = 0
  for (const _ of new Lexer().lex(text)) if (++count > PIECES_MAX) return false
  return true
}

/** What an anchor stands for; undefined while its value is being read. */
interface Anchor {
  readonly located: Located | undefined
  readonly size: number
}

class Reader {
  readonly #at: (offset: number) => Place
  readonly #problems: ProblemList
  readonly #anchors = new Map<string, Anchor>()
  /** Values read so far, those that aliases stand for included. */
  #count = 0
  #aliasedCount = 0
  isBroken = false

  constructor(at: (offset: number) => Place, problems: ProblemList) {
    this.#at = at
    this.#problems = problems
  }

  /** @param nearby the place of a value that has none, such as the value of a key that stands alone */
  read(node: unknown, nearby: Place, path: Path, depth = 0): Located {
    const before = this.#count++
    const anchor = (node as { anchor?: string } | null)?.anchor
    if (anchor !== undefined) this.#anchors.set(anchor, { located: undefined, size: 0 })
    const located = this.#value(node, this.#placeOf(node) ?? nearby, path, depth)
    if (anchor !== undefined) this.#anchors.set(anchor, { located, size: this.#count - before })
    return located
  }

  #placeOf(node: unknown): Place | undefined {
    const offset = (node as Node | null)?.range?.[0]
    return offset === undefined ? undefined : this.#at(offset)
  }

  #value(node: unknown, at: Place, path: Path, depth: number): Located {
    if (depth > DEPTH_MAX) return this.#broken(at, path, `nested deeper than ${DEPTH_MAX} levels`)
    if (isAlias(node)) return this.#alias(node.source, at, path)
    if (isMap(node)) return this.#map(node.items, at, path, depth)
    if (isSeq(node))
      return { kind: 'list', at, items: node.items.map((item, i) => this.#item(item, at, [...path, i], depth + 1)) }
    if (!isScalar(node)) return scalar(null, at)
    const value = scalar(numberOf(node), at)
    return node.type === Scalar.BLOCK_LITERAL ? { ...value, isBlock: true } : value
  }

  /** `[a: 1]`: in a flow list a pair may stand without a map around it. */
  #item(item: unknown, nearby: Place, path: Path, depth: number): Located {
    if (!isPair(item)) return this.read(item, nearby, path, depth)
    return this.#map([item], this.#placeOf(item.key) ?? nearby, path, depth)
  }

  #map(pairs: readonly Pair[], at: Place, path: Path, depth: number): LocatedMap {
    const fields = new Map<string, Field>()
    const merged: Located[] = []
    for (const { key, value } of pairs) {
      const keyAt = this.#placeOf(key) ?? at
      const name = keyText(key)
      if (name === undefined) {
        this.#problems.add(keyAt, path, 'a key must be plain text')
        continue
      }
      const located = this.read(value, keyAt, [...path, name], depth + 1)
      const first = fields.get(name)
      if (isMergeKey(key)) merged.push(located)
      else if (first === undefined) fields.set(name, { keyAt, value: located })
      else
        this.#problems.add(
          keyAt,
          [...path, name],
          `"${name}" stands twice in this map, first on line ${first.keyAt.line}`,
        )
    }
    for (const located of merged) this.#merge(fields, located, path)
    return { kind: 'map', at, fields }
  }

  /** `<<: *defaults`: keys of its own come before merged ones, earlier maps before later ones. */
  #merge(fields: Map<string, Field>, merged: Located, path: Path): void {
    for (const map of merged.kind === 'list' ? merged.items : [merged]) {
      if (map.kind !== 'map') this.#problems.add(map.at, [...path, '<<'], 'only a map can be merged here')
      else for (const [key, field] of map.fields) if (!fields.has(key)) fields.set(key, field)
    }
  }

  #alias(name: string, at: Place, path: Path): Located {
    const anchor = this.#anchors.get(name)
    if (anchor === undefined) return this.#broken(at, path, `no anchor "&${name}" stands before the alias "*${name}"`)
    if (anchor.located === undefined) return this.#broken(at, path, `the alias "*${name}" stands inside its own value`)
    this.#count += anchor.size
    this.#aliasedCount += anchor.size
    if (this.#aliasedCount > ALIASED_VALUES_MAX)
      return this.#broken(at, path, `the aliases of this file stand for more than ${ALIASED_VALUES_MAX} values`)
    return anchor.located
  }

  #broken(at: Place, path: Path, message: string): Located {
    this.isBroken = true
    this.#problems.add(at, path, message)
    return scalar(null, at)
  }
}

function keyText(key: unknown): string | undefined {
  if (!isScalar(key)) return undefined
  return typeof key.value === 'string' ? key.value : (key.source ?? String(key.value))
}

function isMergeKey(key: unknown): boolean {
  return isScalar(key) && key.value === '<<' && key.type === Scalar.PLAIN
}

/** Integers beyond the safe range keep their digits while they fit into 64 bits. */
function numberOf({ value, source = '' }: Scalar): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value) || !/^[-+]?\d{1,19}$/.test(source)) return value
  const whole = BigInt(source)
  return BigInt.asIntN(64, whole) === whole ? whole : value
}

const PLAIN_WORDS: Partial<Record<YAMLError['code'], string>> = {
  BAD_ALIAS: 'an alias needs a name, as in *defaults; text that begins with "*" must stand in quotes',
  BAD_COLLECTION_TYPE: 'this tag does not fit the value behind it',
  BLOCK_AS_IMPLICIT_KEY: 'a map cannot begin on this line; a value that contains ": " must stand in quotes',
  KEY_OVER_1024_CHARS: 'a key has more than 1024 characters; is a ":" in an unquoted text meant as a part of it?',
  MULTILINE_IMPLICIT_KEY: 'a key and its ":" must stand on one line; check the indentation and the ":"',
  MULTIPLE_DOCS: 'a file holds one YAML document; put what follows "---" into a file of its own and `include:` it',
  RESOURCE_EXHAUSTION: 'lists and maps are nested too deeply',
  TAB_AS_INDENT: 'YAML syntax: tabs are not allowed as indentation; indent with spaces',
  TAG_RESOLVE_FAILED: 'this tag ("!…") is not known; remove it, or put the text into quotes',
}

/** The parser's message without jargon, or at least without its capital letter. */
function plainWords({ code, message }: YAMLError): string {
  const text = message.split('\n', 1)[0]!
  return PLAIN_WORDS[code] ?? `YAML syntax: ${text.charAt(0).toLowerCase()}${text.slice(1)}`
}
