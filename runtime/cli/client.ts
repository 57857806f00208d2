// Finds a running node and asks it, through its admin socket. operations.md §2, §3.

import { readdir } from 'node:fs/promises'
import { type IncomingMessage, request } from 'node:http'
import { connect } from 'node:net'
import { join, resolve } from 'node:path'
import type { ErrorBody } from '../admin/shapes.ts'
import { didYouMean } from '../app/problems.ts'
import { MoonmeshError, messageOf } from '../base/errors.ts'
import { findSocket } from '../node-dir.ts'
import { CommandFailure, EXIT_FAILED, EXIT_USAGE } from './exit.ts'
import { commandName } from './invocation.ts'

export interface NodeChoice {
  socket?: string
  node?: string
}

const DATA_DIR = '.runtime'
const ANSWER_MS_MAX = 10_000
/** Of one part of a long answer: a leader may have to be elected before the first. */
const SILENCE_MS_MAX = 60_000
const howToStart = (): string => `start one with: ${commandName()} run app.yaml`

/**
 * The admin socket that is meant: the one given, that of the node given, or the only live one under `.runtime/`.
 * @throws CommandFailure when there is none, or more than one
 */
export async function findNode(choice: NodeChoice, workingDir = process.cwd()): Promise<string> {
  if (choice.socket !== undefined) return choice.socket
  const dataDir = resolve(workingDir, DATA_DIR)
  const found = await liveNodes(dataDir)
  if (choice.node !== undefined) {
    const wanted = found.find(({ name }) => name === choice.node)
    if (wanted !== undefined) return wanted.socket
    const others = found.length === 0 ? 'none is' : `running: ${found.map(({ name }) => name).join(', ')}`
    throw new CommandFailure(
      EXIT_FAILED,
      `node ${choice.node} is not running under ${dataDir} (${others})${didYouMean(
        choice.node,
        found.map(({ name }) => name),
      )}; ${howToStart()}`,
    )
  }
  const [only, ...others] = found
  if (only === undefined) {
    throw new CommandFailure(
      EXIT_FAILED,
      `no node is running under ${dataDir}; ${howToStart()}\n` +
        'for a node with its data elsewhere: --socket DATA_DIR/NODE/admin.sock',
    )
  }
  if (others.length > 0) {
    const names = found.map(({ name }) => `  --node ${name}`).join('\n')
    throw new CommandFailure(EXIT_USAGE, `${found.length} nodes are running under ${dataDir}; say which one:\n${names}`)
  }
  return only.socket
}

async function liveNodes(dataDir: string): Promise<{ name: string; socket: string }[]> {
  const names = await directoriesIn(dataDir)
  const nodes = await Promise.all(
    names.map(async (name) => {
      const socket = await findSocket(join(dataDir, name)).catch(() => undefined)
      return socket !== undefined && (await isListening(socket)) ? [{ name, socket }] : []
    }),
  )
  return nodes.flat()
}

async function directoriesIn(path: string): Promise<string[]> {
  try {
    const entries = await readdir(path, { withFileTypes: true })
    return entries.flatMap((entry) => (entry.isDirectory() ? [entry.name] : [])).sort()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw new CommandFailure(EXIT_FAILED, `cannot look for nodes: ${messageOf(error)}`)
  }
}

/** Whether a node answers there. */
export function isListening(socketPath: string): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(socketPath)
    socket.once('connect', () => done(true))
    socket.once('error', () => done(false))
    socket.once('close', () => done(false))
    socket.once('connect', () => socket.destroy())
  })
}

/** Whether the node with its data in `directory` runs. */
export async function isRunning(directory: string): Promise<boolean> {
  const socket = await findSocket(directory).catch(() => undefined)
  return socket !== undefined && (await isListening(socket))
}

/** What a node is told to do. */
export interface Order {
  /** Default: POST. */
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** Absent: none is sent. */
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  /** How long it may take. Default: as long as any answer. */
  readonly timeoutMs?: number
}

/**
 * The JSON that a node answers to a GET, or to an order.
 * @throws CommandFailure when nobody answers; MoonmeshError what the node answers instead
 */
export async function ask<T>(socketPath: string, path: string, order?: Order): Promise<T> {
  const { status, text } = await send(socketPath, path, order)
  const body = parsed(text, socketPath)
  if (status < 400) return body as T
  const { kind, message, retryable, details } = (body as ErrorBody).error
  throw new MoonmeshError(kind, message, {
    ...(retryable === undefined ? {} : { retryable }),
    ...(details === undefined ? {} : { details }),
  })
}

/**
 * Reads lines of JSON that a node sends as things happen, until it ends them or `signal` aborts.
 * @throws CommandFailure when nobody answers; MoonmeshError what the node answers instead
 */
export async function follow(
  socketPath: string,
  path: string,
  { signal, line }: { signal: AbortSignal; line: (value: unknown) => void },
): Promise<void> {
  const response = await new Promise<IncomingMessage>((done, fail) => {
    const sent = request({ socketPath, path, agent: false, signal }, done)
    sent.on('error', (error) => fail(explained(error, socketPath, ANSWER_MS_MAX)))
    sent.end()
  })
  response.setEncoding('utf8')
  let rest = ''
  try {
    for await (const chunk of response) {
      const lines = (rest + String(chunk)).split('\n')
      rest = lines.pop() ?? ''
      if ((response.statusCode ?? 0) >= 400) rest = [...lines, rest].join('\n')
      else for (const text of lines) line(parsed(text, socketPath))
    }
  } catch (error) {
    if (!signal.aborted) throw explained(error as NodeJS.ErrnoException, socketPath, ANSWER_MS_MAX)
  }
  if ((response.statusCode ?? 0) < 400) return
  const { kind, message } = (parsed(rest, socketPath) as ErrorBody).error
  throw new MoonmeshError(kind, message)
}

/** Bytes that a node sends, one part after the other; undefined after the last. */
interface Download {
  /** @throws CommandFailure when the node breaks off */
  next(): Promise<Uint8Array | undefined>
  close(): void
}

/**
 * Orders something that a node answers with many bytes.
 * @throws CommandFailure when nobody answers; MoonmeshError what the node answers instead
 */
export async function download(socketPath: string, path: string): Promise<Download> {
  const response = await new Promise<IncomingMessage>((done, fail) => {
    const sent = request({ socketPath, path, method: 'POST', agent: false, timeout: SILENCE_MS_MAX }, done)
    sent.on('timeout', () => sent.destroy(new Error(`silent for ${SILENCE_MS_MAX / 1000} s`)))
    sent.on('error', (error) => fail(explained(error, socketPath, SILENCE_MS_MAX)))
    sent.end()
  })
  const parts: AsyncIterator<Buffer> = response[Symbol.asyncIterator]()
  let received = 0
  const next = async (): Promise<Uint8Array | undefined> => {
    try {
      const part = await parts.next()
      if (part.done === true) return undefined
      received += part.value.length
      return part.value
    } catch (error) {
      const where = `the node at ${socketPath} broke off after ${received} bytes`
      throw new CommandFailure(EXIT_FAILED, `${where} (${messageOf(error)}); its log says why`)
    }
  }
  if ((response.statusCode ?? 0) < 400) return { next, close: () => response.destroy() }
  const text: Uint8Array[] = []
  for (let part = await next(); part !== undefined; part = await next()) text.push(part)
  const { kind, message } = (parsed(Buffer.concat(text).toString('utf8'), socketPath) as ErrorBody).error
  throw new MoonmeshError(kind, message)
}

function parsed(text: string, socketPath: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new CommandFailure(EXIT_FAILED, `what listens on ${socketPath} is no moonmesh node: ${messageOf(error)}`)
  }
}

function send(socketPath: string, path: string, order?: Order): Promise<{ status: number; text: string }> {
  const timeoutMs = order?.timeoutMs ?? ANSWER_MS_MAX
  const body = order?.body === undefined ? undefined : Buffer.from(JSON.stringify(order.body))
  const ofBody = body === undefined ? {} : { 'content-type': 'application/json', 'content-length': body.length }
  const headers = { ...ofBody, ...order?.headers }
  const method = order === undefined ? 'GET' : (order.method ?? 'POST')
  return new Promise((done, fail) => {
    const options = { socketPath, path, method, headers, agent: false, signal: AbortSignal.timeout(timeoutMs) }
    const sent = request(options, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => done({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }))
      response.on('error', (error) => fail(explained(error, socketPath, timeoutMs)))
    })
    sent.on('error', (error) => fail(explained(error, socketPath, timeoutMs)))
    sent.end(body)
  })
}

/** What a failure to reach a node means. */
export function explained(error: NodeJS.ErrnoException, socketPath: string, timeoutMs: number): CommandFailure {
  switch (error.code) {
    case 'ENOENT':
    case 'ECONNREFUSED':
      return new CommandFailure(EXIT_FAILED, `no node is running at ${socketPath}; ${howToStart()}`)
    case 'EACCES':
      return new CommandFailure(
        EXIT_FAILED,
        `no permission to talk to the node at ${socketPath}; run as the user who started it`,
      )
    case 'ABORT_ERR':
      return new CommandFailure(EXIT_FAILED, `the node at ${socketPath} did not answer within ${timeoutMs / 1000} s`)
    default:
      return new CommandFailure(EXIT_FAILED, `cannot talk to the node at ${socketPath}: ${error.message}`)
  }
}
