// Which keys there are, what they protect, and whether others may reach a node that has none. cluster.md §2.3: what is open to the
// network is encrypted, or somebody has said in so many words that it need not be.

import { advertisedHost, type Interface, isLoopback } from './addresses.ts'
import { parseKeyFile } from './gossip-keys.ts'
import type { KeyPath } from './read.ts'
import type { ClusterDraft } from './rules.ts'
import { checkTls, type TlsPem } from './tls-files.ts'

export type FileReading =
  | {
      readonly ok: true
      readonly text: string /** Permission bits; undefined where there are none. */
      readonly mode: number | undefined
    }
  | { readonly ok: false; readonly why: string }

export interface Files {
  /** The absolute path of a path that stands in the settings, relative to whatever said it. */
  resolvePath(path: KeyPath, text: string): string
  /** Reads a small file of text. */
  readFile(file: string): FileReading
}

/** Paths are absolute. */
export interface TlsFiles {
  readonly ca: string
  readonly cert: string
  readonly key: string
  readonly crl: string | undefined
  /** Their contents, which fit together. */
  readonly pem: TlsPem
}

/** Group members may read a key file, nobody else. */
const MODE_BEYOND_0640 = 0o137
const HOW = '`runtime keygen` makes a gossip key for membership.secret_key, `runtime cert` certificates for tls.*'
const WAY_OUT = 'bind to 127.0.0.1, or set cluster.allow_insecure: true to do without'

/** The primary first; empty when gossip is not encrypted. `isKeyed`: a key was meant, even if it is wrong. */
export function gossipKeys(
  draft: ClusterDraft,
  files: Files,
): { keys: readonly Uint8Array[]; isKeyed: boolean; file: string | undefined } {
  const { secret_key: inline, secret_file: fileText, decrypt_keys: others } = draft.values.membership
  const isInlineMeant = draft.isGiven('membership.secret_key')
  if (fileText === undefined) {
    if (!isInlineMeant && others.length > 0) {
      draft.problem(
        'membership.decrypt_keys',
        'they need a primary key: set membership.secret_key or membership.secret_file',
      )
    }
    return { keys: inline === undefined ? [] : [inline, ...others], isKeyed: isInlineMeant, file: undefined }
  }
  const file = files.resolvePath(['membership', 'secret_file'], fileText)
  if (isInlineMeant) {
    draft.problem('membership.secret_file', 'give membership.secret_key or membership.secret_file, but not both')
    return { keys: [], isKeyed: true, file }
  }
  const reading = files.readFile(file)
  if (!reading.ok) {
    draft.problem('membership.secret_file', `${file} cannot be read: ${reading.why}`)
    return { keys: [], isKeyed: true, file }
  }
  if (reading.mode !== undefined && (reading.mode & MODE_BEYOND_0640) !== 0) {
    const mode = (reading.mode & 0o777).toString(8).padStart(4, '0')
    draft.warn('membership.secret_file', `${file} has mode ${mode}: others can use the key; chmod 0640 closes it`)
  }
  const parsed = parseKeyFile(reading.text)
  if ('why' in parsed) {
    draft.problem('membership.secret_file', `${file}: ${parsed.why}`)
    return { keys: [], isKeyed: true, file }
  }
  return { keys: [...parsed.value, ...others], isKeyed: true, file }
}

/** Undefined without `tls.*`, and when there are problems with it. `isMeant`: some of it was given. */
export function tlsFiles(
  draft: ClusterDraft,
  files: Files,
  options: { nodeName: string | undefined; nowMs: number },
): { tls: TlsFiles | undefined; isMeant: boolean } {
  const parts = ['ca', 'cert', 'key', 'crl'] as const
  const given = parts.filter((part) => draft.isGiven(`tls.${part}`))
  if (given.length === 0) return { tls: undefined, isMeant: false }
  const missing = parts.slice(0, 3).filter((part) => !given.includes(part))
  if (missing.length > 0) {
    const names = missing.map((part) => `tls.${part}`).join(' and ')
    draft.problem(
      `tls.${given[0]}`,
      `tls.ca, tls.cert and tls.key go together: ${names} ${missing.length === 1 ? 'is' : 'are'} missing`,
    )
  }
  const paths: Partial<Record<(typeof parts)[number], string>> = {}
  const texts: Partial<Record<(typeof parts)[number], string>> = {}
  for (const part of given) {
    const text = draft.values.tls[part]
    if (text === undefined) continue
    const file = files.resolvePath(['tls', part], text)
    const reading = files.readFile(file)
    if (!reading.ok) draft.problem(`tls.${part}`, `${file} cannot be read: ${reading.why}`)
    else texts[part] = reading.text
    paths[part] = file
  }
  const { ca, cert, key } = texts
  const { nodeName, nowMs } = options
  // A wrong node name has a problem of its own, and would only add one about the certificate.
  if (ca === undefined || cert === undefined || key === undefined || nodeName === undefined)
    return { tls: undefined, isMeant: true }
  if (paths.crl !== undefined && texts.crl === undefined) return { tls: undefined, isMeant: true }
  const pem: TlsPem = { ca, cert, key, crl: texts.crl }
  const problems = checkTls(pem, { nodeName, nowMs })
  for (const { file, message } of problems) draft.problem(`tls.${file}`, `${paths[file]}: ${message}`)
  if (problems.length > 0) return { tls: undefined, isMeant: true }
  return {
    tls: { ca: paths.ca as string, cert: paths.cert as string, key: paths.key as string, crl: paths.crl, pem },
    isMeant: true,
  }
}

/** Where the node listens and what it tells others about that. */
export interface Hosts {
  readonly gossip: string
  readonly gossipAdvertised: string
  readonly mesh: string
}

export function hosts(
  draft: ClusterDraft,
  options: { isKeyed: boolean; hasTls: boolean; interfaces: readonly Interface[] },
): Hosts {
  const { enabled, allow_insecure: isInsecureAllowed, membership, internode } = draft.values
  const { isKeyed, hasTls, interfaces } = options
  const gossip = membership.bind_addr ?? (isKeyed ? '0.0.0.0' : '127.0.0.1')
  const mesh = internode.bind_addr ?? gossip
  if (!isKeyed && !isInsecureAllowed) {
    const open: readonly [path: string, host: string | undefined][] = [
      ['membership.bind_addr', membership.bind_addr],
      ['membership.advertise_addr', membership.advertise_addr],
      ['internode.bind_addr', internode.bind_addr],
      ['internode.advertise_addr', internode.advertise_addr],
    ]
    for (const [path, host] of open) {
      if (host === undefined || isLoopback(host)) continue
      const why = hasTls ? 'gossip is open without a gossip key, tls.* protects the mesh only' : 'nothing is encrypted'
      draft.problem(path, `${host} can be reached from other machines, and ${why}: ${HOW}; or ${WAY_OUT}`)
    }
  }
  return { gossip, mesh, gossipAdvertised: advertised(draft, { host: gossip, enabled, interfaces }) }
}

function advertised(
  draft: ClusterDraft,
  { host, enabled, interfaces }: { host: string; enabled: boolean; interfaces: readonly Interface[] },
): string {
  const given = draft.values.membership.advertise_addr
  if (given !== undefined) return given
  const found = advertisedHost(host, interfaces)
  if (found !== undefined) return found
  // What the machine has is no mistake in the file: a cluster that is off must not keep an app from running there.
  if (enabled && draft.areSound('membership.advertise_addr', 'membership.bind_addr')) {
    draft.problem(
      draft.toBlame('membership.bind_addr', 'membership.advertise_addr'),
      `bound to ${host}, this machine has no private address to tell the others: set membership.advertise_addr`,
    )
  }
  return host
}
