// A table of the state machine, in the one order of its keys, that can be looked at as of a moment while it goes on changing: what a
// snapshot is written from. cluster.md §5.12. Rows that are changed in place are copied first when a view may still read them.

import { toBytes, toText } from '../../../runtime/base/bytes.ts'
import { SortedMap, type SortedView } from '../../kv/core/sorted-map.ts'

/** The rows of one moment. Close it: until then every row that changes is copied. */
export interface TableView<Row> {
  readonly size: number
  /** In the order of keys. */
  rows(): Generator<readonly [key: string, row: Row]>
  close(): void
}

export class Table<Row extends object> {
  readonly #map = new SortedMap<Row>()
  readonly #copy: (row: Row) => Row
  readonly #views = new Set<SortedView<Row>>()
  /** Rows that no open view can see; counts while there is one. */
  readonly #own = new Set<Row>()

  /** @param copy of a row that is changed in place; rows that never are need none */
  constructor(copy: (row: Row) => Row = (row) => row) {
    this.#copy = copy
  }

  get size(): number {
    return this.#map.size
  }

  has(key: string): boolean {
    return this.get(key) !== undefined
  }

  /** To read. */
  get(key: string): Row | undefined {
    return this.#map.get(toBytes(key))
  }

  /** To change in place. */
  own(key: string): Row | undefined {
    const row = this.get(key)
    if (row === undefined || this.#views.size === 0 || this.#own.has(row)) return row
    const copy = this.#copy(row)
    this.set(key, copy)
    return copy
  }

  /** Nothing of a row that comes from `get` may be part of one that is changed in place later. */
  set(key: string, row: Row): void {
    if (this.#views.size > 0) this.#own.add(row)
    this.#map.set(toBytes(key), row)
  }

  delete(key: string): Row | undefined {
    const row = this.#map.delete(toBytes(key))
    if (row !== undefined) this.#own.delete(row)
    return row
  }

  /** In order. */
  keys(): string[] {
    return Array.from(this.#map.range(), ([key]) => toText(key))
  }

  /** In order; the table must not change meanwhile. */
  *rows(): Generator<readonly [key: string, row: Row]> {
    for (const [key, row] of this.#map.range()) yield [toText(key), row]
  }

  view(): TableView<Row> {
    const view = this.#map.view()
    this.#views.add(view)
    // What was nobody else's is now the view's as well.
    this.#own.clear()
    return {
      size: view.size,
      rows: () => textRows(view),
      close: () => {
        this.#views.delete(view)
        if (this.#views.size === 0) this.#own.clear()
      },
    }
  }
}

function* textRows<Row>(view: SortedView<Row>): Generator<readonly [key: string, row: Row]> {
  for (const [key, row] of view.range()) yield [toText(key), row]
}
