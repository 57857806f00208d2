// One YAML file: its data, and the place of every value in it.

import { isMap, isNode, isPair, isScalar, LineCounter, type Node, parseDocument } from 'yaml'
import type { Problem } from './problems.ts'

export interface Place {
  line: number
  column: number
}

export interface YamlDocument {
  readonly file: string
  /** Plain data: maps are objects, sequences arrays. */
  readonly data: unknown
  /** The place of a value; of the nearest thing around it when it does not exist. */
  place(path: readonly PropertyKey[]): Place
  /** The place of a key. */
  placeOfKey(path: readonly PropertyKey[]): Place
}

/** Aliases that may be resolved: more are an attempt to blow up. */
const ALIASES_MAX = 200
const START: Place = { line: 1, column: 1 }

/** The document, or what is wrong with its syntax. */
export function parseYaml(file: string, text: string): { document: YamlDocument } | { problems: Problem[] } {
  const lines = new LineCounter()
  const parsed = parseDocument(text, { lineCounter: lines, uniqueKeys: true, prettyErrors: false, version: '1.2' })
  const at = (offset: number): Place => {
    const { line, col } = lines.linePos(offset)
    return line === 0 ? START : { line, column: col }
  }
  if (parsed.errors.length > 0) {
    return {
      problems: parsed.errors.map(({ message, pos }) => ({
        file,
        ...at(pos[0]),
        path: '',
        message: `YAML syntax: ${plainWords(message)}`,
      })),
    }
  }
  let data: unknown
  try {
    data = parsed.toJS({ maxAliasCount: ALIASES_MAX })
  } catch {
    return {
      problems: [
        {
          file,
          ...START,
          path: '',
          message: `more than ${ALIASES_MAX} YAML aliases are resolved; write the values out`,
        },
      ],
    }
  }
  const offsetOf = (node: unknown): number | undefined => (isNode(node) ? node.range?.[0] : undefined)
  const nodeAt = (path: readonly PropertyKey[]): Node | undefined => {
    const node = path.length === 0 ? parsed.contents : parsed.getIn(path, true)
    return isNode(node) ? node : undefined
  }
  const place = (path: readonly PropertyKey[]): Place => {
    for (let length = path.length; length >= 0; length--) {
      const offset = offsetOf(nodeAt(path.slice(0, length)))
      if (offset !== undefined) return at(offset)
    }
    return START
  }
  const placeOfKey = (path: readonly PropertyKey[]): Place => {
    const parent = nodeAt(path.slice(0, -1))
    const key = path.at(-1)
    const pair = isMap(parent)
      ? parent.items.find((item) => isPair(item) && isScalar(item.key) && String(item.key.value) === key)
      : undefined
    const offset = offsetOf(pair?.key)
    return offset === undefined ? place(path) : at(offset)
  }
  return { document: { file, data, place, placeOfKey } }
}

/** The parser's words, without its own position and with the usual remedy. */
function plainWords(message: string): string {
  const text = message.replace(/\s+at line \d+, column \d+:?[\s\S]*$/, '').trim()
  if (/tab/i.test(text)) return `${text} (indent with spaces)`
  if (/Map keys must be unique/.test(text)) return 'the same key stands twice in one map'
  if (/Nested mappings are not allowed/.test(text)) return `${text} (quote the value if it contains ": ")`
  return text
}
