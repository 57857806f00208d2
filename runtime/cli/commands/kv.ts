// `runtime kv get|put|delete|list|watch`: the stores of a running node. operations.md §2.

import type { Command } from 'commander'
import type { StoreEvent, StoreItem, StorePage, StoreRow } from '../../admin/shapes.ts'
import { parseDurationMs } from '../../base/duration.ts'
import { MoonmeshError } from '../../base/errors.ts'
import { roundedInteger } from '../../base/plain.ts'
import { ask, findNode, follow, type NodeChoice, type Order } from '../client.ts'
import { CommandFailure, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE } from '../exit.ts'
import { type CommonOptions, Output, plural, printable } from '../output.ts'

type Options = CommonOptions & NodeChoice
type PutOptions = Options & { ttl?: string; ifAbsent?: boolean; ifVersion?: string; text?: boolean }
type DeleteOptions = Options & { ifVersion?: string }
type WatchOptions = Options & { from?: string }
type ListOptions = Options & { after?: string; limit?: string }

/** As long as a write may wait for a leader, and a bit. */
const WRITE_MS_MAX = 15_000
const VALUE_LENGTH_SHOWN = 60

export function addKv(kv: Command, end: (exitCode: number) => void): void {
  kv.description('the stores of a running node')
  const command = (name: string, description: string): Command =>
    kv
      .command(name)
      .description(description)
      .option('--json', 'the result as JSON on standard output')
      .option('--no-color', 'no colours')
      .option('--socket <path>', 'the admin socket of the node')
      .option('--node <name>', 'the node of this name under .runtime/')
      .addHelpText('after', '\nWithout --socket and --node, the only node that runs under .runtime/ is asked.')
  command('stores', 'list the stores that run').action(async (options: Options) => end(await stores(options)))
  command('get', 'print the value of a key')
    .argument('<store>', 'the id of its entry')
    .argument('<key>')
    .action(async (store: string, key: string, options: Options) => end(await get(store, key, options)))
  command('put', 'write a value')
    .alias('set')
    .argument('<store>', 'the id of its entry')
    .argument('<key>')
    .argument('<value>', 'JSON; anything else is text')
    .option('--text', 'the value is text, even if it could be JSON')
    .option('--ttl <duration>', 'until when it stays, such as 90s; without it, for ever')
    .option('--if-absent', 'only if there is no such key')
    .option('--if-version <version>', 'only if this is the version of the key')
    .action(async (store: string, key: string, value: string, options: PutOptions) =>
      end(await put({ store, key, value }, options)),
    )
  command('delete', 'delete a key')
    .argument('<store>', 'the id of its entry')
    .argument('<key>')
    .option('--if-version <version>', 'only if this is the version of the key')
    .action(async (store: string, key: string, options: DeleteOptions) => end(await remove(store, key, options)))
  command('watch', 'print what changes, as it happens')
    .argument('<store>', 'the id of its entry')
    .argument('[prefix]', 'only keys that begin with this')
    .option('--from <version>', 'begin behind this version instead of now')
    .action(async (store: string, prefix: string | undefined, options: WatchOptions) =>
      end(await watch(store, prefix ?? '', options)),
    )
  command('list', 'list keys and values in the order of the keys')
    .argument('<store>', 'the id of its entry')
    .argument('[prefix]', 'only keys that begin with this')
    .option('--after <key>', 'only keys behind this one')
    .option('--limit <count>', 'at most so many, up to 1000; by default 100')
    .action(async (store: string, prefix: string | undefined, options: ListOptions) =>
      end(await list(store, prefix ?? '', options)),
    )
}

async function stores(options: Options): Promise<number> {
  const output = Output.standard(options)
  const rows = await ask<StoreRow[]>(await findNode(options), '/v1/kv')
  if (output.isJson) output.json(rows)
  else {
    output.table(rows, [
      { title: 'STORE', text: (row) => row.id },
      { title: 'BACKEND', text: (row) => row.backend },
      { title: 'CONSISTENCY', text: (row) => row.consistency },
      { title: 'DURABLE', text: (row) => (row.durable ? 'yes' : 'no') },
      { title: 'KEYS', text: (row) => (row.keys === null ? '-' : String(row.keys)), align: 'right' },
    ])
  }
  return EXIT_OK
}

async function get(store: string, key: string, options: Options): Promise<number> {
  const output = Output.standard(options)
  const item = await ask<StoreItem>(await findNode(options), pathOf(store, key))
  if (output.isJson) output.json(item)
  else output.line(textOf(item.value))
  return EXIT_OK
}

async function put(given: { store: string; key: string; value: string }, options: PutOptions): Promise<number> {
  const { ttl, ifAbsent, ifVersion, text } = options
  const output = Output.standard(options)
  const ttlMs = ttl === undefined ? 0 : parseDurationMs(ttl)
  if (ttlMs === undefined || ttlMs < 0) throw wrong(`--ttl takes a duration such as 90s or 1h, not ${ttl}`)
  if (ifAbsent === true && ifVersion !== undefined) throw wrong('--if-absent and --if-version exclude each other')
  const order: Order = {
    method: 'PUT',
    body: text === true ? given.value : valueFrom(given.value),
    headers: { ...(ifAbsent === true ? { 'if-none-match': '*' } : {}), ...ifMatch(ifVersion) },
    timeoutMs: WRITE_MS_MAX,
  }
  const query = ttlMs > 0 ? `?ttl=${ttlMs / 1000}` : ''
  const item = await ask<StoreItem>(await findNode(options), pathOf(given.store, given.key) + query, order)
  if (output.isJson) output.json(item)
  else output.line(`${printable(item.key)} is written, version ${item.version}`)
  return EXIT_OK
}

async function remove(store: string, key: string, options: DeleteOptions): Promise<number> {
  const output = Output.standard(options)
  const order: Order = { method: 'DELETE', headers: ifMatch(options.ifVersion), timeoutMs: WRITE_MS_MAX }
  const answer = await ask<{ deleted: boolean }>(await findNode(options), pathOf(store, key), order)
  if (output.isJson) output.json(answer)
  else output.line(answer.deleted ? `${printable(key)} is deleted` : `there is no key ${printable(key)}`)
  return EXIT_OK
}

/** Until it is interrupted. */
async function watch(store: string, prefix: string, options: WatchOptions): Promise<number> {
  const output = Output.standard(options)
  const query = new URLSearchParams({
    watch: 'true',
    prefix,
    ...(options.from === undefined ? {} : { from: options.from }),
  })
  const { signal, wasInterrupted, stop } = untilInterrupted()
  try {
    await follow(await findNode(options), `/v1/kv/${encodeURIComponent(store)}?${query}`, {
      signal,
      line: (value) => {
        if (output.isJson) output.jsonLine(value)
        else output.line(eventText(value as StoreEvent))
      },
    })
  } finally {
    stop()
  }
  if (wasInterrupted()) return EXIT_INTERRUPTED
  throw new CommandFailure(EXIT_FAILED, 'the store has stopped, or cannot be followed any longer')
}

function untilInterrupted(): { signal: AbortSignal; wasInterrupted: () => boolean; stop: () => void } {
  const abort = new AbortController()
  const interrupt = (): void => abort.abort()
  process.once('SIGINT', interrupt)
  process.once('SIGTERM', interrupt)
  const stop = (): void => {
    process.off('SIGINT', interrupt)
    process.off('SIGTERM', interrupt)
  }
  return { signal: abort.signal, wasInterrupted: () => abort.signal.aborted, stop }
}

function eventText({ type, key = '', value, version }: StoreEvent): string {
  if (type === 'resync') return `resync ${version}: changes are lost, list the keys again`
  return `${type} ${printable(key)}${value === undefined ? '' : ` ${shortened(textOf(value))}`} (version ${version})`
}

async function list(store: string, prefix: string, options: ListOptions): Promise<number> {
  const output = Output.standard(options)
  const { after, limit } = options
  if (limit !== undefined && !/^\d+$/.test(limit)) throw wrong(`--limit takes a whole number, not ${limit}`)
  const query = new URLSearchParams({ prefix, ...(after === undefined ? {} : { after }), limit: limit ?? '0' })
  const page = await ask<StorePage>(await findNode(options), `/v1/kv/${encodeURIComponent(store)}?${query}`)
  if (output.isJson) {
    output.json(page)
    return EXIT_OK
  }
  output.table(page.items, [
    { title: 'KEY', text: (row) => row.key },
    { title: 'VALUE', text: (row) => shortened(textOf(row.value)) },
    { title: 'VERSION', text: (row) => row.version, align: 'right' },
    { title: 'EXPIRES', text: (row) => row.expires_at ?? '-' },
  ])
  if (page.has_more) output.error(`${plural(page.items.length, 'key')}, and there are more: --after ${page.cursor}`)
  return EXIT_OK
}

const pathOf = (store: string, key: string): string => {
  if (key === '') throw new CommandFailure(EXIT_USAGE, 'a key cannot be empty')
  return `/v1/kv/${encodeURIComponent(store)}/${encodeURIComponent(key)}`
}

function ifMatch(version: string | undefined): Record<string, string> {
  if (version === undefined) return {}
  if (!/^\d+$/.test(version)) throw wrong(`--if-version takes the version of a key, not ${version}`)
  return { 'if-match': `"${version}"` }
}

function valueFrom(text: string): unknown {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return text
  }
  const rounded = roundedInteger(text)
  if (rounded !== undefined)
    throw wrong(`${rounded} would be rounded: integers beyond 2^53 have no exact form here; --text writes it as text`)
  if (value !== null) return value
  throw new MoonmeshError('Invalid', 'null is no value; `runtime kv delete` removes a key')
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value))

function shortened(text: string): string {
  const letters = [...text]
  return letters.length <= VALUE_LENGTH_SHOWN ? text : `${letters.slice(0, VALUE_LENGTH_SHOWN - 1).join('')}…`
}

const wrong = (text: string): CommandFailure => new CommandFailure(EXIT_USAGE, text)
