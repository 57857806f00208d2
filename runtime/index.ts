// The public face of the package.

import { moduleNames } from '../lua-stdlib/names.ts'
import { type App, type LoadResult, loadApp, loadEntries } from './app/load.ts'
import { formatProblem } from './app/problems.ts'
import { MoonmeshError } from './base/errors.ts'
import { requireForm, requireOptions } from './base/given.ts'
import { createLog, type Log } from './log.ts'
import { compileProblem } from './lua/check.ts'
import { clusterOfThisMachine, Node } from './node.ts'
import { ACTOR_HOST, type ActorDefinition, actorEntryId, requireActor } from './process/actor.ts'

import { type DocumentHeader, decodeDocument } from './process/document.ts'

export { type ErrorKind, MoonmeshError } from './base/errors.ts'
export type { Plain } from './base/plain.ts'
export type { CaptureOptions, ResumeOptions, StartReport } from './node.ts'
export {
  type ActorContext,
  type ActorDefinition,
  type ActorEvent,
  type ActorSpawnOptions,
  defineActor,
  type Message,
  type ReceiveOptions,
  type Receiver,
} from './process/actor.ts'
export type { DocumentHeader } from './process/document.ts'
export type { ServiceState, ServiceStatus } from './supervisor/supervisor.ts'
export { Node }

/** An entry given by an embedding program: what an app file would hold, as an object. `id` is `namespace:name`. */
export interface EntryDefinition {
  id: string
  kind: string
  [field: string]: unknown
}

/** What a document of `node.capture` says of the process. @throws MoonmeshError `Invalid` for bytes that are none */
export function describeDocument(document: Uint8Array): DocumentHeader {
  requireForm('document', document, 'bytes')
  return decodeDocument(document).header
}

export interface CreateNodeOptions {
  /** The app file or directory. One of `app` and `entries` is needed; with both, the entries are added to the app's. */
  app?: string
  entries?: readonly EntryDefinition[]
  /** TypeScript actors that Lua may spawn and services may run: `process: "actor:NAME"` on `host: "system:actors"`. */
  actors?: readonly ActorDefinition[]
  /** `path=value`, as on the command line: `node.name=worker-1`. */
  set?: readonly string[]
  /** Serve the admin interface. Default false. */
  admin?: boolean
  /** Where log lines go. Default: standard error, by the app's `logger` settings. `false`: nowhere. */
  log?: Log | false
}

/**
 * Loads and validates an app and builds a node of it; nothing runs before `start()`.
 * @throws MoonmeshError `Invalid`; `details.problems` lists every problem as `file:line:col path: message`
 */
export async function createNode(options: CreateNodeOptions): Promise<Node> {
  requireOptions(options, { app: 'text', entries: 'list', actors: 'list', set: 'list', admin: 'flag' })
  for (const actor of options.actors ?? []) requireActor(actor)
  const app = await load(options)
  const log =
    options.log === false
      ? createLog({ level: 'silent', format: 'json' })
      : (options.log ?? createLog(app.settings.logger))
  return new Node({ app, log, withAdmin: options.admin === true, actors: options.actors ?? [] })
}

async function load(options: CreateNodeOptions): Promise<App> {
  const actors = (options.actors ?? []).map((actor) => [actorEntryId(actor), 'process.lua'] as const)
  const builtIn = new Map<string, 'process.host' | 'process.lua'>([[ACTOR_HOST, 'process.host'], ...actors])
  const rules = { moduleNames, compile: compileProblem(), builtIn, env: process.env }
  const settings = { set: options.set ?? [], cluster: clusterOfThisMachine() }
  if (options.app === undefined && options.entries === undefined) {
    throw new MoonmeshError('Invalid', 'createNode needs an app file ({ app }) or entries ({ entries })')
  }
  const file =
    options.app === undefined ? undefined : required(await loadApp({ ...rules, ...settings, path: options.app }))
  if (options.entries === undefined) return file as App
  // Beside an app file it is the file's settings that count.
  const more = file === undefined ? settings : { beside: file.entries, lua: file.settings.lua }
  const added = required(await loadEntries(options.entries, { ...rules, ...more }))
  return file === undefined ? added : { ...file, entries: [...file.entries, ...added.entries] }
}

function required(result: LoadResult): App {
  if (result.ok) return result.app
  const problems = result.problems.map((problem) => formatProblem(problem))
  throw new MoonmeshError('Invalid', `the app has ${problems.length} problem(s):\n${problems.join('\n')}`, {
    retryable: false,
    details: { problems },
  })
}
