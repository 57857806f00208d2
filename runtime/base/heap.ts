// A binary heap: timers and other things that come due in order. Equal keys leave in the order they came in.

interface Node<T> {
  key: number
  order: number
  item: T
}

export class Heap<T> {
  readonly #nodes: Node<T>[] = []
  #order = 0

  get count(): number {
    return this.#nodes.length
  }

  /** The smallest key, or undefined when empty. */
  get nextKey(): number | undefined {
    return this.#nodes[0]?.key
  }

  /** The item with the smallest key; it stays. */
  peek(): T | undefined {
    return this.#nodes[0]?.item
  }

  push(key: number, item: T): void {
    const nodes = this.#nodes
    const node = { key, order: this.#order++, item }
    let at = nodes.length
    nodes.push(node)
    while (at > 0) {
      const up = (at - 1) >> 1
      const parent = nodes[up] as Node<T>
      if (!before(node, parent)) break
      nodes[at] = parent
      at = up
    }
    nodes[at] = node
  }

  /** Removes and returns the item with the smallest key. */
  pop(): T | undefined {
    const nodes = this.#nodes
    const top = nodes[0]
    if (top === undefined) return undefined
    const last = nodes.pop() as Node<T>
    if (nodes.length > 0) this.#sink(last)
    return top.item
  }

  /** Rebuilds without the items that `keep` refuses; linear. */
  prune(keep: (item: T) => boolean): void {
    const kept = this.#nodes.filter((node) => keep(node.item)).sort((a, b) => a.key - b.key || a.order - b.order)
    this.#nodes.length = 0
    for (const node of kept) this.#nodes.push(node)
  }

  #sink(node: Node<T>): void {
    const nodes = this.#nodes
    let at = 0
    for (;;) {
      let down = at * 2 + 1
      if (down >= nodes.length) break
      const right = nodes[down + 1]
      if (right !== undefined && before(right, nodes[down] as Node<T>)) down++
      const child = nodes[down] as Node<T>
      if (!before(child, node)) break
      nodes[at] = child
      at = down
    }
    nodes[at] = node
  }
}

function before<T>(a: Node<T>, b: Node<T>): boolean {
  return a.key < b.key || (a.key === b.key && a.order < b.order)
}
