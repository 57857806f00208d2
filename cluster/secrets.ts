// Gossip keys and certificates that change while the node runs: read anew when their files change or somebody says so. A set that does not
// hold together changes nothing. cluster.md §3.5, §4.3; operations.md §4.

import { MoonmeshError } from '../runtime/base/errors.ts'
import { parseKeyFile } from './config/gossip-keys.ts'
import type { FileReading, TlsFiles } from './config/security.ts'
import type { ClusterSettings } from './config.ts'
import { type CertificateMaterial, readMaterial } from './mesh/identity.ts'
import type { SecuritySettings } from './mesh/tls.ts'
import { watchFiles } from './mesh/watch-files.ts'

interface SecretsOptions {
  readonly settings: ClusterSettings
  readonly wallMs: () => number
  readonly readFile: (file: string) => FileReading
}

interface NewSecrets {
  /** The one that encrypts first. */
  readonly keys: readonly Uint8Array[]
  readonly security: SecuritySettings
}

export class Secrets {
  readonly #options: SecretsOptions

  constructor(options: SecretsOptions) {
    this.#options = options
  }

  get #files(): string[] {
    const { membership, tls } = this.#options.settings
    const files = [membership.keyFile, tls?.ca, tls?.cert, tls?.key, tls?.crl]
    return files.filter((file) => file !== undefined)
  }

  /** @returns ends it */
  watch(changed: () => void): () => void {
    return watchFiles(this.#files, changed)
  }

  /** What the files say now. @throws MoonmeshError `Invalid`, naming the file and what is wrong with it */
  async read(): Promise<NewSecrets> {
    const keys = this.#keys()
    const { security, id, tls } = this.#options.settings
    switch (security.mesh) {
      case 'plain':
        return { keys, security: { kind: 'plain' } }
      case 'key':
        return { keys, security: { kind: 'psk', clusterId: id, keys } }
      case 'certificates':
        return { keys, security: { kind: 'certificate', material: await this.#material(tls as TlsFiles) } }
    }
  }

  #keys(): readonly Uint8Array[] {
    const { keyFile, keys, decryptKeys } = this.#options.settings.membership
    if (keyFile === undefined) return keys
    const parsed = parseKeyFile(this.#text(keyFile))
    if ('why' in parsed) throw invalid(`${keyFile}: ${parsed.why}`)
    return [...parsed.value, ...decryptKeys]
  }

  async #material({ ca, cert, key, crl }: TlsFiles): Promise<CertificateMaterial> {
    const texts = {
      ca: this.#text(ca),
      cert: this.#text(cert),
      key: this.#text(key),
      ...(crl === undefined ? {} : { crl: this.#text(crl) }),
    }
    const { settings, wallMs } = this.#options
    const read = await readMaterial(texts, { nodeName: settings.name, nowMs: wallMs() })
    if (read.ok) return read.material
    throw invalid(`cluster.tls: ${read.problems.join('; ')}`)
  }

  #text(file: string): string {
    const reading = this.#options.readFile(file)
    if (reading.ok) return reading.text
    throw invalid(`${file} cannot be read: ${reading.why}`)
  }
}

const invalid = (text: string): MoonmeshError => new MoonmeshError('Invalid', text, { retryable: false })
