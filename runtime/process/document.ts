// A saved process as bytes: who it was, what its engine wrote down, and a digest over both, so that a damaged file is known before anything of
// it is used. A msgpack array of two byte strings, the content and its SHA-256; the content is an array of magic, version, header, heap.

import { createHash } from 'node:crypto'
import { fromUint8Array } from '../base/bytes.ts'
import { MoonmeshError } from '../base/errors.ts'
import { fromPlain, toPlain } from '../base/plain.ts'
import { DEPTH_MAX, ValueReader, ValueWriter, WireError } from '../relay/wire/values.ts'

const MAGIC = 'moonmesh process'
const VERSION = 1

/** What a document says of itself. What a process was to others does not move with it; it is listed for whoever sets it up again. */
export interface DocumentHeader {
  /** The entry whose code it runs, and all whose code it needs, with the SHA-256 of their sources. */
  readonly entry: string
  readonly codes: readonly { readonly name: string; readonly hash: string }[]
  /** Where it was. */
  readonly node: string
  readonly host: string
  readonly pid: string
  /** Milliseconds since 1970. */
  readonly capturedAtMs: number
  /** Messages and events that nobody had read. */
  readonly unread: number
  readonly names: readonly string[]
  /** PIDs: of linked processes, of those it monitored, and of those that monitored it. */
  readonly links: readonly string[]
  readonly monitors: readonly string[]
  readonly monitoredBy: readonly string[]
}

/** @param heap a byte string */
export function encodeDocument(header: DocumentHeader, heap: string): Uint8Array {
  const content = new ValueWriter()
    .start()
    .fields(4)
    .text(MAGIC)
    .number(VERSION)
    .value(fromPlain(header))
    .text(heap)
    .finish()
  return new ValueWriter()
    .start()
    .fields(2)
    .text(fromUint8Array(content))
    .text(fromUint8Array(digest(content)))
    .finish()
}

/** @throws MoonmeshError `Invalid` for bytes that `encodeDocument` has not made */
export function decodeDocument(bytes: Uint8Array): { header: DocumentHeader; heap: string } {
  try {
    const reader = new ValueReader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
    if (reader.fields() !== 2) throw new WireError('it is none')
    const content = Buffer.from(scalar(reader), 'latin1')
    const expected = scalar(reader)
    if (!reader.isAtEnd || fromUint8Array(digest(content)) !== expected)
      throw new WireError('its digest is another one')
    return decodeContent(new ValueReader(content))
  } catch (error) {
    if (!(error instanceof WireError)) throw error
    throw new MoonmeshError('Invalid', `not a saved process, or a damaged one: ${error.message}`, {
      retryable: false,
      cause: error,
    })
  }
}

function decodeContent(reader: ValueReader): { header: DocumentHeader; heap: string } {
  if (reader.fields() !== 4 || scalar(reader) !== MAGIC) throw new WireError('it is none')
  const version = reader.value(DEPTH_MAX)
  if (version !== VERSION) throw new WireError(`version ${String(version)} is not known here`)
  const header = toPlain(reader.value(DEPTH_MAX - HEADER_DEPTH))
  const heap = scalar(reader)
  if (!reader.isAtEnd || !isHeader(header)) throw new WireError('a header of another form')
  return { header, heap }
}

const HEADER_DEPTH = 3

/** A byte string: nothing that is built up while it is read. */
function scalar(reader: ValueReader): string {
  const value = reader.value(DEPTH_MAX)
  if (typeof value !== 'string') throw new WireError('expected a string')
  return value
}

const digest = (content: Uint8Array): Uint8Array => createHash('sha256').update(content).digest()

function isHeader(header: unknown): header is DocumentHeader {
  if (typeof header !== 'object' || header === null) return false
  const { entry, codes, node, host, pid, capturedAtMs, unread, names, links, monitors, monitoredBy } =
    header as Partial<DocumentHeader>
  const isText = (value: unknown): boolean => typeof value === 'string'
  const isTexts = (value: unknown): boolean => Array.isArray(value) && value.every(isText)
  return (
    [entry, node, host, pid].every(isText) &&
    typeof capturedAtMs === 'number' &&
    typeof unread === 'number' &&
    [names, links, monitors, monitoredBy].every(isTexts) &&
    Array.isArray(codes) &&
    codes.every((code: unknown) => {
      const { name, hash } = (code ?? {}) as Partial<DocumentHeader['codes'][number]>
      return isText(name) && isText(hash)
    })
  )
}

/** What a host tells of a process that it has written down; what was written stands beside it. */
export type CapturedHeader = Omit<DocumentHeader, 'node' | 'capturedAtMs'>
