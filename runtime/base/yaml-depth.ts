// How deep a YAML text nests, told from the tokens of a parser that does not recurse: whatever composes them does, and running out of stack
// is no error that can be relied on.

/** A token of the `yaml` package, as far as it matters here. */
interface Token {
  readonly offset?: number
  readonly type?: string
  readonly value?: unknown
  readonly items?: readonly { readonly key?: unknown; readonly value?: unknown }[]
}

/** The offset of the first token below `depthMax` levels; undefined when nothing lies so deep. */
export function offsetDeeperThan(documents: Iterable<unknown>, depthMax: number): number | undefined {
  for (const document of documents as Iterable<Token>) {
    const waiting = [{ token: document, depth: 0 }]
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const { token, depth } = next
      if (depth > depthMax) return token.offset ?? 0
      if (token.type === 'document' && token.value) waiting.push({ token: token.value as Token, depth })
      for (const { key, value } of token.items ?? []) {
        if (key) waiting.push({ token: key as Token, depth: depth + 1 })
        if (value) waiting.push({ token: value as Token, depth: depth + 1 })
      }
    }
  }
  return undefined
}
