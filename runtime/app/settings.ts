// Settings: built-in defaults < app file < --config files < environment < --set. operations.md §1.

import { hostname } from 'node:os'
import { resolve } from 'node:path'
import type { z } from 'zod'
import { NODE_NAME, nodeNameOf } from '../base/node-name.ts'
import type { LuaSettings } from '../lua/engines.ts'
import { type ClusterReader, type ClusterSection, pathBeside, readClusterSection } from './cluster-section.ts'
import { readYamlMap } from './files.ts'
import { type Located, type LocatedMap, merge, nested, scalar, textOf, valueAt } from './located.ts'
import { type Place, type Problem, ProblemList, wholeOf } from './problems.ts'
import { type LOG_FORMATS, type LOG_LEVELS, NUMBER, settingsSchema, TEXT_SETTINGS } from './schema.ts'
import { validate } from './validate.ts'
import { substitute, type Variables } from './variables.ts'

export interface Settings {
  readonly node: {
    readonly name: string
    /** Absolute; the node writes below `<dataDir>/<name>/`. */
    readonly dataDir: string
  }
  readonly logger: {
    readonly level: (typeof LOG_LEVELS)[number]
    readonly format: (typeof LOG_FORMATS)[number]
    /** Lines are written; those who listen get them either way. */
    readonly isWritten: boolean
    /** Lines that are kept for `runtime logs`. */
    readonly recentLinesMax: number
    /** Lines are events on the bus as well. */
    readonly isStreamed: boolean
  }
  readonly metrics: {
    /** Calls of functions are counted and timed. */
    readonly recordsFunctions: boolean
    /** `host:port` of a listener for Prometheus alone. */
    readonly prometheus: string | undefined
  }
  readonly admin: {
    /** `host:port`, or `off`. */
    readonly http: string
    /** Nobody asked for this very address. */
    readonly httpIsDefault: boolean
    readonly token: string | undefined
  }
  readonly shutdown: { readonly timeoutMs: number }
  /** What the cluster's reader made of it; undefined without one. */
  readonly cluster: ClusterSection | undefined
  readonly security: { readonly strictMode: boolean }
  readonly lua: LuaSettings
  /** What works, but not as its author may think; to be logged once at start. */
  readonly warnings: readonly Problem[]
}

interface SettingsSources {
  /** What the app file holds. */
  readonly app: LocatedMap
  readonly configFiles: readonly string[]
  readonly env: Variables
  /** `path=value` */
  readonly set: readonly string[]
  /** The folder that `.runtime` lies in by default. */
  readonly dir: string
  /** Without one the `cluster` section is passed over. */
  readonly cluster: ClusterReader | undefined
}

const ADMIN_HTTP = '127.0.0.1:7960'
const DATA_DIR = '.runtime'
const ENVIRONMENT_PREFIX = 'RUNTIME_'
const SECTIONS: readonly string[] = Object.keys(settingsSchema.shape)

/** Undefined when there are problems. */
export async function composeSettings(sources: SettingsSources, problems: ProblemList): Promise<Settings | undefined> {
  const layers: Located[] = [sources.app]
  for (const path of sources.configFiles) {
    const layer = await configLayer(resolve(path), problems)
    if (layer !== undefined) layers.push(layer)
  }
  const isText = textSettings(sources.cluster)
  layers.push(...environmentLayers(sources.env, isText), ...setLayers(sources.set, isText, problems))
  const merged = layers.reduce((under, over) => merge(under, over))
  const located = substitute(merged, [], sources.env, problems) as LocatedMap
  const given = validate(settingsSchema, located, [], problems)
  const dataDir = dataDirOf(located, sources.dir)
  const warnings = new ProblemList()
  const cluster = clusterOf(located, sources.cluster, dataDir, { problems, warnings })
  if (given === undefined) return undefined
  return {
    node: { name: given.node.name ?? cluster?.name ?? nodeNameOf(hostname()), dataDir },
    logger: loggerOf(given),
    metrics: {
      recordsFunctions: given.metrics.interceptor.enabled,
      prometheus: given.prometheus.enabled ? given.prometheus.address : undefined,
    },
    admin: {
      http: given.admin.http ?? ADMIN_HTTP,
      httpIsDefault: given.admin.http === undefined,
      token: given.admin.token,
    },
    shutdown: { timeoutMs: given.shutdown.timeout },
    cluster,
    security: { strictMode: given.security.strict_mode },
    lua: given.lua,
    warnings: warnings.sorted(),
  }
}

function clusterOf(
  located: LocatedMap,
  reader: ClusterReader | undefined,
  dataDir: string,
  lists: { problems: ProblemList; warnings: ProblemList },
): ClusterSection | undefined {
  if (reader === undefined) return undefined
  const text = textOf(valueAt(located, ['node', 'name']))
  const nodeName = text !== undefined && NODE_NAME.test(text) ? text : undefined
  return readClusterSection(located, reader, { nodeName, dataDir }, lists)
}

type IsText = (path: readonly string[]) => boolean

/** Whether a setting is text whatever it looks like. */
function textSettings(reader: ClusterReader | undefined): IsText {
  return (path) => {
    const [section, ...below] = path
    if (section === 'cluster') return reader?.textKeys.has(below.join('.')) === true
    return TEXT_SETTINGS.has(path.join('.'))
  }
}

const NUMBERED_LEVELS = ['debug', 'info', 'warn', 'error'] as const
const LOWEST_NUMBER = -1

/** `logger.level` and `logger.format` say it outright, and win over the other ways to say the same. */
function loggerOf({ logger, logmanager }: z.output<typeof settingsSchema>): Settings['logger'] {
  const { min_level: number, propagate_downstream: isWritten, stream_to_events: isStreamed } = logmanager
  const numbered = number === undefined ? undefined : NUMBERED_LEVELS[number - LOWEST_NUMBER]
  const encoded = logger.encoding === 'console' ? 'pretty' : logger.encoding
  return {
    level: logger.level ?? numbered ?? 'info',
    format: logger.format ?? encoded ?? 'auto',
    recentLinesMax: logger.recent_lines,
    isWritten,
    isStreamed,
  }
}

/** A file of settings has no entries; `version` says the same there as in an app file. */
async function configLayer(file: string, problems: ProblemList): Promise<Located | undefined> {
  const located = await readYamlMap(file, { at: wholeOf(`--config ${file}`), path: [] }, problems)
  if (located === undefined) return undefined
  const fields = new Map(located.fields)
  fields.delete('version')
  for (const key of ['namespace', 'include', 'entries']) {
    const field = fields.get(key)
    if (field === undefined) continue
    problems.add(field.keyAt, [key], 'a --config file holds settings; entries belong in the app')
    fields.delete(key)
  }
  return { ...located, fields }
}

function dataDirOf(located: LocatedMap, dir: string): string {
  const path = ['node', 'data_dir']
  const text = textOf(valueAt(located, path))
  return text === undefined ? resolve(dir, DATA_DIR) : pathBeside(located, path, text)
}

// ---- the environment and flags

/** `RUNTIME_NODE__NAME=x`. Only what begins with a section counts: other programs have variables of this kind, too. */
function environmentLayers(env: Variables, isText: IsText): Located[] {
  const names = Object.keys(env).filter((name) => /^RUNTIME_[A-Z0-9_]+$/.test(name))
  return names.sort().flatMap((name) => {
    const path = name.slice(ENVIRONMENT_PREFIX.length).toLowerCase().split('__')
    const text = env[name]
    if (text === undefined || path.length < 2 || !SECTIONS.includes(path[0]!)) return []
    return [nested(path, isText(path) ? scalar(text, wholeOf(name)) : recognised(text, wholeOf(name)))]
  })
}

function setLayers(assignments: readonly string[], isText: IsText, problems: ProblemList): Located[] {
  return assignments.flatMap((assignment) => {
    const [, key, text] = /^([^=]*)=(.*)$/s.exec(assignment) ?? []
    const path = key?.trim().split('.') ?? []
    if (text === undefined || path.includes('')) {
      // What stands behind "=" may be a secret, and is not shown.
      const shown = text === undefined ? assignment : `${key}=…`
      problems.add(wholeOf(`--set ${shown}`), [], 'expected path=value, such as node.name=node-1')
      return []
    }
    const at = wholeOf(`--set ${path.join('.')}=…`)
    return [nested(path, isText(path) ? scalar(text, at) : recognised(text, at))]
  })
}

/** True, false, numbers and `[a,b]` are what they look like. */
function recognised(text: string, at: Place): Located {
  if (text.startsWith('[') && text.endsWith(']')) {
    const inside = text.slice(1, -1).trim()
    const items = inside === '' ? [] : inside.split(',').map((item) => scalar(scalarOf(item.trim()), at))
    return { kind: 'list', at, items }
  }
  return scalar(scalarOf(text), at)
}

function scalarOf(text: string): unknown {
  if (text === 'true' || text === 'false') return text === 'true'
  const number = NUMBER.test(text) ? Number(text) : Number.NaN
  return Number.isFinite(number) ? number : text
}
