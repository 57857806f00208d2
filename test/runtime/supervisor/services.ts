// Service definitions in few words.

import type { RestartOptions } from '../../../runtime/supervisor/core/restart.ts'
import type { ServiceDefinition } from '../../../runtime/supervisor/core/supervisor.ts'
import { DEFAULT_LIFECYCLE, type Lifecycle } from '../../../runtime/supervisor/lifecycle.ts'

type ServiceOptions = Partial<Omit<Lifecycle, 'restart'>> & {
  needs?: readonly string[]
  restart?: Partial<RestartOptions>
}

/** A service that starts with the node, with the defaults of §4.3 for what is not said. */
export function service(id: string, options: ServiceOptions = {}): ServiceDefinition {
  const { needs = [], restart = {}, ...rest } = options
  const lifecycle = {
    ...DEFAULT_LIFECYCLE,
    autoStart: true,
    ...rest,
    restart: { ...DEFAULT_LIFECYCLE.restart, ...restart },
  }
  return { id, kind: 'process.service', lifecycle, dependencies: needs }
}
