package policy

// Reason is the machine code of a denial, stable for clients and dashboards.
type Reason string

// The reasons. Each has its sentences in reasonTexts.
const (
	ReasonUnknownServer   Reason = "unknown_server"
	ReasonBlockedServer   Reason = "blocked_server"
	ReasonDenyAll         Reason = "deny_all"
	ReasonNotStarted      Reason = "organisation_not_started"
	ReasonEnded           Reason = "organisation_ended"
	ReasonNoOrganisation  Reason = "no_organisation"
	ReasonDocumentExpired Reason = "document_expired"
	ReasonNoAction        Reason = "no_action"
	ReasonRule            Reason = "rule"
	ReasonRuleFailed      Reason = "rule_failed"
	ReasonMalformed       Reason = "malformed_event"

	ReasonExternalCreate     Reason = "external_cannot_create"
	ReasonExternalInvite     Reason = "external_cannot_invite"
	ReasonExternalRestricted Reason = "external_in_restricted_room"
	ReasonExternalUninvited  Reason = "external_needs_invite"
	ReasonExternalPower      Reason = "external_has_no_power"
	ReasonExternalSearch     Reason = "external_cannot_search"
	ReasonExternalPublic     Reason = "external_no_public_rooms"
	ReasonExternalPublish    Reason = "external_cannot_publish"
	ReasonExternalProfile    Reason = "external_profile_not_shared"
	ReasonExternalSponsor    Reason = "external_needs_sponsor"

	ReasonRegistrationClosed Reason = "registration_closed"
	ReasonEmailMissing       Reason = "email_missing"
	ReasonEmailInvalid       Reason = "email_invalid"
	ReasonEmailUnknown       Reason = "email_unknown_domain"
	ReasonEmailElsewhere     Reason = "email_other_server"

	ReasonDirectFull    Reason = "direct_room_full"
	ReasonDirectName    Reason = "direct_room_name"
	ReasonDirectPublic  Reason = "direct_room_public"
	ReasonDirectMembers Reason = "direct_room_members"

	ReasonRuleInvalid     Reason = "access_rule_invalid"
	ReasonRuleOneWay      Reason = "access_rule_one_way"
	ReasonRulePublic      Reason = "access_rule_public_room"
	ReasonRuleVisibility  Reason = "access_rule_visibility"
	ReasonRuleForce       Reason = "access_rule_encryption"
	ReasonRuleAtCreation  Reason = "access_rule_at_creation"
	ReasonOpenDefault     Reason = "open_room_users_default"
	ReasonOpenPower       Reason = "open_room_external_power"
	ReasonLevelsInvalid   Reason = "power_levels_invalid"
	ReasonPublicStays     Reason = "public_room_stays_public"
	ReasonPublicEncrypted Reason = "encryption_in_public_room"
	ReasonUnencrypted     Reason = "encryption_refused_at_creation"
	ReasonEncrypted       Reason = "encryption_is_for_good"
	ReasonRetention       Reason = "public_room_retention"
	ReasonProtectedState  Reason = "protected_state"
	ReasonNotPublishable  Reason = "room_not_publishable"
)

// reasonTexts says each reason to people. The maps are shared and never change.
var reasonTexts = map[Reason]Text{
	ReasonUnknownServer: {
		"en": "This server is not part of the federation.",
		"fr": "Ce serveur ne fait pas partie de la fédération."},
	ReasonBlockedServer: {
		"en": "Exchanges with this server are blocked.",
		"fr": "Les échanges avec ce serveur sont bloqués."},
	ReasonDenyAll: {
		"en": "Exchanges with all other servers are suspended.",
		"fr": "Les échanges avec tous les autres serveurs sont suspendus."},
	ReasonNotStarted: {
		"en": "The access of this organisation has not begun yet.",
		"fr": "L'accès de cette organisation n'a pas encore commencé."},
	ReasonEnded: {
		"en": "The access of this organisation has ended.",
		"fr": "L'accès de cette organisation a pris fin."},
	ReasonNoOrganisation: {
		"en": "This account belongs to no known organisation.",
		"fr": "Ce compte n'appartient à aucune organisation connue."},
	ReasonDocumentExpired: {
		"en": "The policy of this server has expired; an administrator must renew it.",
		"fr": "La politique de ce serveur a expiré ; un administrateur doit la renouveler."},
	ReasonNoAction: {
		"en": "The policy of this server does not know this action.",
		"fr": "La politique de ce serveur ne connaît pas cette action."},
	ReasonRule: {
		"en": "A rule of the policy of this server forbids this.",
		"fr": "Une règle de la politique de ce serveur l'interdit."},
	ReasonRuleFailed: {
		"en": "A rule of the policy of this server could not be applied.",
		"fr": "Une règle de la politique de ce serveur n'a pas pu être appliquée."},
	ReasonMalformed: {
		"en": "This event is not of the form that its type demands.",
		"fr": "Cet événement n'a pas la forme que son type exige."},

	ReasonExternalCreate: {
		"en": "External accounts cannot create rooms.",
		"fr": "Les comptes externes ne peuvent pas créer de salons."},
	ReasonExternalInvite: {
		"en": "External accounts cannot invite anybody.",
		"fr": "Les comptes externes ne peuvent inviter personne."},
	ReasonExternalRestricted: {
		"en": "This room is not open to external accounts.",
		"fr": "Ce salon n'est pas ouvert aux comptes externes."},
	ReasonExternalUninvited: {
		"en": "External accounts join a room only when they are invited.",
		"fr": "Les comptes externes ne rejoignent un salon que sur invitation."},
	ReasonExternalPower: {
		"en": "External accounts cannot administer or moderate rooms.",
		"fr": "Les comptes externes ne peuvent ni administrer ni modérer de salons."},
	ReasonExternalSearch: {
		"en": "The directory is not open to external accounts.",
		"fr": "L'annuaire n'est pas ouvert aux comptes externes."},
	ReasonExternalPublic: {
		"en": "Public rooms are not open to external accounts.",
		"fr": "Les salons publics ne sont pas ouverts aux comptes externes."},
	ReasonExternalPublish: {
		"en": "External accounts cannot publish rooms.",
		"fr": "Les comptes externes ne peuvent pas publier de salons."},
	ReasonExternalProfile: {
		"en": "External accounts see only profiles of people they share a room with.",
		"fr": "Les comptes externes ne voient que les profils des personnes avec qui ils partagent un salon."},
	ReasonExternalSponsor: {
		"en": "An external account needs an invitation by a government account.",
		"fr": "Un compte externe nécessite l'invitation d'un compte de l'administration."},

	ReasonRegistrationClosed: {
		"en": "Accounts of this server are made by its administrators.",
		"fr": "Les comptes de ce serveur sont créés par ses administrateurs."},
	ReasonEmailMissing: {
		"en": "A professional e-mail address is needed.",
		"fr": "Une adresse électronique professionnelle est nécessaire."},
	ReasonEmailInvalid: {
		"en": "This is not an e-mail address.",
		"fr": "Ceci n'est pas une adresse électronique."},
	ReasonEmailUnknown: {
		"en": "The domain of this e-mail address is not known here.",
		"fr": "Le domaine de cette adresse électronique n'est pas connu ici."},
	ReasonEmailElsewhere: {
		"en": "This e-mail address belongs to another server.",
		"fr": "Cette adresse électronique relève d'un autre serveur."},

	ReasonDirectFull: {
		"en": "A direct conversation has two members.",
		"fr": "Une conversation directe a deux membres."},
	ReasonDirectName: {
		"en": "A direct conversation has no name, topic or picture.",
		"fr": "Une conversation directe n'a ni nom, ni sujet, ni image."},
	ReasonDirectPublic: {
		"en": "A direct conversation cannot be open to everybody.",
		"fr": "Une conversation directe ne peut pas être ouverte à tous."},
	ReasonDirectMembers: {
		"en": "A room of more than two members cannot become a direct conversation.",
		"fr": "Un salon de plus de deux membres ne peut pas devenir une conversation directe."},

	ReasonRuleInvalid: {
		"en": "The access rule of the room is not valid.",
		"fr": "La règle d'accès du salon n'est pas valide."},
	ReasonRuleOneWay: {
		"en": "A restricted room can be opened to external accounts; no other change of the access rule is possible.",
		"fr": "Un salon restreint peut être ouvert aux comptes externes ; aucun autre changement de la règle d'accès n'est possible."},
	ReasonRulePublic: {
		"en": "A public room cannot be opened to external accounts.",
		"fr": "Un salon public ne peut pas être ouvert aux comptes externes."},
	ReasonRuleVisibility: {
		"en": "Whether a room is public is decided when it is created.",
		"fr": "Le caractère public d'un salon se décide à sa création."},
	ReasonRuleForce: {
		"en": "Whether a room is unencrypted is decided when it is created.",
		"fr": "L'absence de chiffrement d'un salon se décide à sa création."},
	ReasonRuleAtCreation: {
		"en": "This part of the access rule can only be set when the room is created.",
		"fr": "Cette partie de la règle d'accès ne se définit qu'à la création du salon."},
	ReasonOpenDefault: {
		"en": "In a room open to external accounts the default power level is 0; set users_default to 0 first.",
		"fr": "Dans un salon ouvert aux comptes externes, le rang par défaut est 0 ; mettez d'abord users_default à 0."},
	ReasonOpenPower: {
		"en": "In a room open to external accounts these have power level 0; take their power away first.",
		"fr": "Dans un salon ouvert aux comptes externes, ceux-ci ont le rang 0 ; retirez-leur d'abord leurs droits."},
	ReasonLevelsInvalid: {
		"en": "The power levels of the room cannot be read.",
		"fr": "Les rangs du salon sont illisibles."},
	ReasonPublicStays: {
		"en": "A public room stays open to all members of the organisations.",
		"fr": "Un salon public reste ouvert à tous les membres des organisations."},
	ReasonPublicEncrypted: {
		"en": "A public room is not encrypted.",
		"fr": "Un salon public n'est pas chiffré."},
	ReasonUnencrypted: {
		"en": "This room was created without encryption and stays so.",
		"fr": "Ce salon a été créé sans chiffrement et le reste."},
	ReasonEncrypted: {
		"en": "The encryption of a room cannot be changed or removed.",
		"fr": "Le chiffrement d'un salon ne peut être ni changé ni retiré."},
	ReasonRetention: {
		"en": "A public room keeps its messages no longer than the policy says.",
		"fr": "Un salon public ne conserve pas ses messages au-delà de la durée prévue."},
	ReasonProtectedState: {
		"en": "The access rule and the encryption of a room cannot be erased.",
		"fr": "La règle d'accès et le chiffrement d'un salon ne peuvent pas être effacés."},
	ReasonNotPublishable: {
		"en": "Only a public, restricted room can be listed in the directory.",
		"fr": "Seul un salon public et restreint peut figurer dans l'annuaire des salons."},
}

// Text returns the sentences of the reason, or nil. The map must not be changed.
func (r Reason) Text() map[string]string { return reasonTexts[r] }

// reasonRules names the part of the document that decides where a built-in rule
// does. What is missing holds under every document.
var reasonRules = map[Reason]string{
	ReasonExternalCreate: "externals.create_rooms", ReasonExternalInvite: "externals.invite",
	ReasonExternalPower: "externals.max_power", ReasonOpenPower: "externals.max_power",
	ReasonExternalSearch: "externals.search_directory", ReasonExternalPublic: "externals.search_directory",
	ReasonExternalPublish: "externals.publish", ReasonRegistrationClosed: "accounts.registration",
	ReasonEmailMissing: "accounts.registration", ReasonEmailElsewhere: "accounts.registration",
	ReasonExternalSponsor: "accounts.registration", ReasonRetention: "rooms.public.retention",
	ReasonExternalRestricted: "rooms.access_rules", ReasonExternalUninvited: "rooms.access_rules",
	ReasonNoOrganisation: "rooms.access_rules", ReasonNotPublishable: "rooms.access_rules",
	ReasonDirectFull: "rooms.access_rules", ReasonDirectName: "rooms.access_rules",
	ReasonDirectPublic: "rooms.access_rules", ReasonDirectMembers: "rooms.access_rules",
	ReasonRuleInvalid: "rooms.access_rules", ReasonRuleOneWay: "rooms.access_rules",
	ReasonRulePublic: "rooms.access_rules", ReasonRuleVisibility: "rooms.access_rules",
	ReasonRuleForce: "rooms.access_rules", ReasonRuleAtCreation: "rooms.access_rules",
	ReasonOpenDefault: "rooms.access_rules", ReasonPublicStays: "rooms.access_rules",
	ReasonPublicEncrypted: "rooms.access_rules", ReasonUnencrypted: "rooms.access_rules",
	ReasonEncrypted: "rooms.access_rules", ReasonProtectedState: "rooms.access_rules",
}

func (r Reason) rule() string {
	if name, ok := reasonRules[r]; ok {
		return name
	}
	return "builtin"
}
